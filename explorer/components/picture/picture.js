/* The image, or images, of the page's shared latent, redrawn as it moves. Each slot is one canvas;
 * a slot may fix its own class, so that ten slots show one latent in all ten classes, or its own
 * latent. Where the page has a scrubber, the weights are those of the epoch that it stands on.
 * Beside other models, a picture follows the latent of the one that leads, or it shows what its
 * model makes of the real image that is pointed at. */

function buildPicture({ component, root, newView }) {
  const { model, shape, width, fps, captions, models, leader } = component.data;
  const store = storeOf(leader ?? model);
  const twins = readTwins(component.data.twins);
  const epoch = models.length ? signalOf(`epoch ${model}`) : null;
  const rate = fps ? frameRate() : null;

  let slots = [];
  let canvases = [];
  function lay(wanted) {
    slots = wanted;
    canvases = slots.map(({ testid, label }) => imageCanvas(shape, label, testid));
    canvases.forEach((canvas) => {
      canvas.style.width = `${width}px`;
    });
    const figures = slots.map(({ label }, i) => {
      const caption = captions && slots.length > 1 ? [element("figcaption", { text: label })] : [];
      return element("figure", {}, canvases[i], ...caption);
    });
    const parts = rate ? [rate.element] : [];
    root.replaceChildren(element("div", { class: "slots" }, ...figures), ...parts);
  }
  lay(component.data.slots);

  const view = newView((answer) => {
    if (answer.n !== canvases.length) return; // of slots that are no more
    canvases.forEach((canvas, i) => {
      paint(canvas, answer, i);
      announce(canvas);
    });
    rate?.tick();
  });

  let asked = null;
  function follow() {
    const n = slots.length;
    const d = component.data.z.length;
    const shown = twins ? twins.at(signalOf("image").value, d) : store;
    if (!shown.z || !n || (leader ? shown.z.length < d : shown.z.length !== d)) return;
    const by = epoch ? models[epoch.value] : model;
    const still = slots.every((slot) => slot.z); // whatever the hand does with the page's latent
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
      const wanted = component.data.slots;
      if (JSON.stringify(wanted) !== JSON.stringify(slots)) {
        const same = named(wanted) === named(slots);
        if (same) slots = wanted; // what is shown stays until its successor comes
        else lay(wanted);
        asked = null;
        follow();
      }
      if (!leader) store.offer(component.data); // a follower's own latent is not the leader's
    },
    close() {
      unfollow();
      unwatch?.();
    },
  };
}

/* What the canvases of slots are called. */
function named(slots) {
  return JSON.stringify(slots.map(({ testid, label }) => [testid, label]));
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
