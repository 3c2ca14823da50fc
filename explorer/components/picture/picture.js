/* The image, or images, of the page's shared latent, redrawn as it moves. Each slot is one canvas;
 * a slot may fix its own class, so that ten slots show one latent in all ten classes, or its own
 * latent. Where the page has a scrubber, the weights are those of the epoch that it stands on.
 * Beside other models, a picture follows the latent of the one that leads, or it shows what its
 * model makes of the real image that is pointed at. */

function buildPicture({ component, root, newView }) {
  const { model, shape, slots, width, fps, captions, models, leader } = component.data;
  const store = storeOf(leader ?? model);
  const twins = readTwins(component.data.twins);
  const epoch = models.length ? signalOf(`epoch ${model}`) : null;
  const rate = fps ? frameRate() : null;

  const canvases = slots.map(({ testid, label }) => imageCanvas(shape, label, testid));
  canvases.forEach((canvas) => {
    canvas.style.width = `${width}px`;
  });
  const figures = slots.map(({ label }, i) => {
    const wanted = captions && slots.length > 1;
    const caption = wanted ? [element("figcaption", { text: label })] : [];
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

  const still = slots.every((slot) => slot.z); // whatever the hand does with the page's latent
  let asked = null;
  function follow() {
    const n = slots.length;
    const d = component.data.z.length;
    const shown = twins ? twins.at(signalOf("image").value, d) : store;
    if (!shown.z || !n || (leader ? shown.z.length < d : shown.z.length !== d)) return;
    const by = epoch ? models[epoch.value] : model;
    if (!by || (still && by === asked)) return;
    asked = by;
    const k = component.data.weights?.length ?? 0;
    const weights = k ? new Float32Array(n * k) : null;
    const z = new Float32Array(n * d);
    slots.forEach((slot, i) => {
      z.set(slot.z ?? shown.z.subarray(0, d), i * d);
      weights?.set(slot.weights ?? shown.weights, i * k);
    });
    view.want({ model: by, z, n, d, weights, k });
  }

  const unfollow = (twins ? signalOf("image") : store).follow(follow);
  const unwatch = epoch?.follow(follow);
  return {
    update(component) {
      if (!leader) store.offer(component.data); // a follower's own latent is not the leader's
    },
    close() {
      unfollow();
      unwatch?.();
    },
  };
}

/* The latents that stand for real images in this model, by the number of the image. */
function readTwins(told) {
  if (!told) return null;
  const codes = floats(told.codes);
  const of = told.of && new Uint16Array(fromBase64(told.of));
  const asked = told.asked && new Uint8Array(fromBase64(told.asked));
  return {
    at(image, d) {
      const i = of ? of[image] : image;
      const z = codes.subarray(i * d, (i + 1) * d);
      return { z, weights: asked && oneHot(asked[i], told.classes) };
    },
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
