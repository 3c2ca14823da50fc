/* The image that the page's drawing is to the model; black where nothing is drawn. */

function buildSeen({ component, root }) {
  const { shape, label, width } = component.data;
  const [channels, height, across] = shape;
  const canvas = imageCanvas(shape, label, "drawing-seen");
  canvas.style.width = `${width}px`;
  root.replaceChildren(canvas);

  const blank = { height, width: across, channels, pixels: new Uint8Array(channels * height * across) };
  const unfollow = signalOf("seen").follow((image) => {
    paint(canvas, image ?? blank);
    announce(canvas);
  });
  return { update() {}, close: unfollow };
}

export default instances(buildSeen);
