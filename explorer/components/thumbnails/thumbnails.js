/* Images to choose from, as buttons. They come from Python as pixels: nothing is decoded here. */

function buildThumbnails({ component, root }) {
  let current = component;
  let shown = null;

  function draw() {
    const { pixels, ids, labels, shape } = current.data;
    const [channels, height, width] = shape;
    const all = new Uint8Array(fromBase64(pixels));
    const buttons = ids.map((id, i) => {
      const canvas = imageCanvas(shape, labels[i]);
      paint(canvas, { height, width, channels, pixels: all }, i);
      return element("button", {
        "data-testid": `thumbnail-${i}`,
        "aria-label": `Choose ${labels[i]}`,
        title: labels[i],
        onclick: () => current.setStateValue("settled", { id, click: Date.now() }),
      }, canvas);
    });
    root.replaceChildren(element("div", { class: "thumbnails" }, ...buttons));
  }

  return {
    update(component) {
      current = component;
      if (component.data.pixels === shown) return;
      shown = component.data.pixels;
      draw();
    },
  };
}

export default instances(buildThumbnails);
