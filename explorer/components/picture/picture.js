/* The image, or images, of the page's shared latent, redrawn as it moves. Each slot is one canvas;
 * a slot may fix its own class, so that ten slots show one latent in all ten classes. */

function buildPicture({ component, root, newView }) {
  const { model, shape, slots, width, fps } = component.data;
  const store = storeOf(component.data.model);
  const rate = fps ? frameRate() : null;

  const canvases = slots.map(({ testid, label }) => imageCanvas(shape, label, testid));
  canvases.forEach((canvas) => {
    canvas.style.width = `${width}px`;
  });
  const figures = slots.map(({ label }, i) => {
    const caption = slots.length > 1 ? [element("figcaption", { text: label })] : [];
    return element("figure", {}, canvases[i], ...caption);
  });
  root.replaceChildren(element("div", { class: "slots" }, ...figures), ...(rate ? [rate.element] : []));

  const view = newView((answer) => {
    if (answer.kind === Kind.ERROR) return showError(root, answer.message);
    canvases.forEach((canvas, i) => {
      paint(canvas, answer, i);
      announce(canvas);
    });
    rate?.tick();
  });

  function follow() {
    const n = slots.length;
    const d = component.data.z.length;
    if (store.z.length !== d || !n) return;
    const k = slots[0].weights?.length ?? store.weights?.length ?? 0;
    const weights = k ? new Float32Array(n * k) : null;
    slots.forEach((slot, i) => weights?.set(slot.weights ?? store.weights, i * k));
    view.want({ model, z: repeatRow(store.z, n), n, d, weights, k });
  }

  const unfollow = store.follow(follow);
  return {
    update: (component) => store.offer(component.data),
    close: unfollow,
  };
}

/* Pictures painted in the last second, while something moves. */
function frameRate() {
  const shown = element("div", { class: "fps", "data-testid": "fps", text: "– pictures/s" });
  let times = [];
  return {
    element: shown,
    tick() {
      const now = performance.now();
      times = times.filter((time) => now - time < 1000);
      times.push(now);
      if (times.length > 2) {
        const rate = (1000 * (times.length - 1)) / (now - times[0]);
        shown.textContent = `${rate.toFixed(0)} pictures/s`;
      }
    },
  };
}

export default instances(buildPicture);
