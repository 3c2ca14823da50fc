/* A path through the latent space as a strip of frames, with a scrubber and a play button.
 * Python sends the path's codes; where it sends class weights alone, z is the page's shared latent
 * and the strip follows it. */

const PLAY_SECONDS = 3; // from one end to the other
const SETTLE_MS = 300; // after the last arrow key

function buildStrip({ component, root, newView }) {
  const { model, shape } = component.data;
  const store = storeOf(component.data.model);
  const d = component.data.z.length;
  const [, height, width] = shape;
  let current = component;
  let playing = null;
  let pending = null;

  const row = element("div", { class: "frames", "data-testid": "strip", role: "group" });
  const big = imageCanvas(shape, "The image at the scrubber", "live-image");
  big.style.width = `${component.data.width}px`;
  const scrub = element("input", {
    type: "range",
    min: 0,
    max: 1,
    step: "any",
    value: component.data.at,
    "aria-label": "Position along the path",
    "data-testid": "strip-scrub",
    oninput: () => drawBig(),
    onchange: settle,
    onkeydown: (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (!step) return;
      event.preventDefault(); // a range with step "any" has no keyboard step of its own
      moveTo(scrub.valueAsNumber + step);
      clearTimeout(pending); // a rerun is for what stands still: not for each of many keys
      pending = setTimeout(settle, SETTLE_MS);
    },
  });
  const play = element("button", {
    text: "Play",
    "data-testid": "strip-play",
    onclick: () => (playing ? stop() : start()),
  });
  root.replaceChildren(
    row,
    element("div", { class: "scrub" }, play, scrub),
    element("div", { class: "big" }, big),
  );

  const stripView = newView((answer) => {
    row.querySelectorAll("canvas.frame").forEach((canvas, i) => {
      if (i < answer.n) paint(canvas, answer, i);
    });
    announce(row);
  });
  const bigView = newView((answer) => {
    paint(big, answer);
    announce(big);
  });

  function makeFrames() {
    const { frames, near, originals, labels } = current.data;
    const figures = [];
    for (let i = 0; i < frames; i++) {
      const canvas = imageCanvas(shape, `Frame ${i + 1} of ${frames}`, `strip-frame-${i}`);
      canvas.classList.add("frame");
      const caption = element("figcaption", { text: labels[i] });
      const figure = element("figure", {}, canvas, caption);
      if (near) caption.append(gauge(near[i], near));
      figure.addEventListener("click", () => {
        moveTo(frames > 1 ? i / (frames - 1) : 0);
        settle();
      });
      figures.push(figure);
    }
    const [left, right] = (originals ?? [null, null]).map(original);
    row.replaceChildren(...[left, ...figures, right].filter(Boolean));
  }

  function original(encoded, i) {
    if (!encoded) return null;
    const name = i ? "Original at the end" : "Original at the start";
    const canvas = imageCanvas(shape, name, i ? "original-end" : "original-start");
    paint(canvas, { height, width, channels: shape[0], pixels: new Uint8Array(fromBase64(encoded)) });
    return element("figure", { class: "original" }, canvas, element("figcaption", { text: "original" }));
  }

  /* Numbers that Python sent, unpacked once for as long as they stay the same. */
  const unpacked = {};
  function numbers(name) {
    const encoded = current.data[name];
    if (unpacked[name]?.encoded !== encoded) unpacked[name] = { encoded, values: floats(encoded) };
    return unpacked[name].values;
  }

  /* Codes (or class weights) between two frames lie on the path that Python sent in fine steps. */
  function rows(fine, i) {
    const { path, mix } = current.data;
    const pick = (name, size) => numbers(name).subarray(i * size, (i + 1) * size);
    const k = mix ? current.data.classes : 0;
    return {
      z: path ? pick("path", d) : store.z,
      weights: mix ? pick("mix", k) : null,
      k,
    };
  }

  function drawStrip() {
    if (!current.data.path && store.z?.length !== d) return;
    const { frames, fine } = current.data;
    const picked = Array.from({ length: frames }, (_, i) =>
      rows(fine, frames > 1 ? Math.round((i * (fine - 1)) / (frames - 1)) : 0),
    );
    const k = picked[0].k;
    const z = new Float32Array(frames * d);
    const weights = k ? new Float32Array(frames * k) : null;
    picked.forEach((one, i) => {
      z.set(one.z, i * d);
      weights?.set(one.weights, i * k);
    });
    stripView.want({ model, z, n: frames, d, weights, k });
  }

  /* The image at the scrubber; the frame nearest to it is marked. */
  function drawBig() {
    if (!current.data.path && store.z?.length !== d) return;
    const { frames, fine } = current.data;
    const nearest = Math.round(scrub.valueAsNumber * (frames - 1));
    row.querySelectorAll("figure:not(.original)").forEach((figure, i) =>
      figure.toggleAttribute("data-here", i === nearest));
    const { z, weights, k } = rows(fine, Math.round(scrub.valueAsNumber * (fine - 1)));
    bigView.want({ model, z, n: 1, d, weights, k });
  }

  function moveTo(t) {
    scrub.value = Math.min(Math.max(t, 0), 1);
    drawBig();
  }

  /* To the other end and back, and again; where less motion is wanted, to the other end once. */
  function start() {
    const once = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const began = performance.now();
    play.textContent = "Pause";
    const frame = (now) => {
      const ways = (now - began) / 1000 / PLAY_SECONDS;
      const t = once ? Math.min(ways, 1) : ways % 2;
      moveTo(t > 1 ? 2 - t : t);
      if (once && t === 1) return stop();
      playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = null;
    play.textContent = "Play";
    settle();
  }

  /* Python hears where the scrubber stands. The answer may come when the hand is further on. */
  const sent = [];
  function settle() {
    clearTimeout(pending);
    pending = null;
    if (!alike(scrub.valueAsNumber, told)) sent.push(scrub.valueAsNumber);
    current.setStateValue("at", scrub.valueAsNumber);
  }

  /* What was sent comes back in thousandths. */
  const alike = (one, other) => Math.abs(one - other) <= 0.001;

  /* Where Python says that it stands, unless that is old news: the browser's Back, or a link. */
  function hear(at) {
    if (at === told) return;
    told = at;
    const answered = sent.findIndex((one) => alike(one, at));
    if (answered >= 0) sent.splice(0, answered + 1);
    else if (!playing && !pending && !scrub.matches(":active")) moveTo(at);
  }

  const unfollow = store.follow(() => {
    if (current.data.path) return;
    drawStrip();
    drawBig();
  });
  let shown = null;
  let told = component.data.at; // where Python said last that the scrubber stands
  return {
    update(component) {
      current = component;
      store.offer(component.data);
      hear(component.data.at);
      const { path, mix, frames, near, originals } = component.data;
      const wanted = JSON.stringify([path, mix, frames, near, originals]);
      if (wanted === shown) return;
      shown = wanted;
      makeFrames();
      drawStrip();
      drawBig();
    },
    close() {
      cancelAnimationFrame(playing);
      clearTimeout(pending);
      unfollow();
    },
  };
}

/* The honesty gauge: how many real codes lie near this frame, as a number and a bar. */
function gauge(count, all) {
  const share = (100 * count) / Math.max(1, ...all);
  const bar = element("span", { class: "bar" });
  bar.style.width = `${share}%`;
  return element("span", { class: "gauge", title: `${count} real codes nearby` }, bar, `${count}`);
}

export default instances(buildStrip);
