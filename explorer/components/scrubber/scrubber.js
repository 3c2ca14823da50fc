/* A slider over the epochs whose weights were kept. What it stands on is the page's signal, which
 * pictures, the map and the marks on the curves follow at once; Python hears where it settles. */

const STEP_MS = 900; // that playing stays on a stop: time to look at sixteen pictures
const SETTLE_MS = 300; // after the last arrow key

function buildScrubber({ component, root, newView }) {
  const { model, stops, weights } = component.data;
  const epoch = signalOf(`epoch ${model}`);
  const last = stops.length - 1;
  let current = component;
  let playing = null;
  let pending = null;

  const play = element("button", {
    text: "Play",
    "data-testid": "epoch-play",
    onclick: () => (playing ? pause() : start()),
  });
  const shown = element("output", {});
  const scrub = element("input", {
    type: "range",
    min: 0,
    max: last,
    step: 1,
    value: component.data.at,
    "aria-label": component.data.name,
    "data-testid": "epoch-scrub",
    oninput: () => {
      stop();
      show(scrub.valueAsNumber);
    },
    onchange: settle,
  });
  const note = element("p", { class: "note", "data-testid": "epoch-note" });
  const ticks = stops.map(({ label }) => element("span", { text: label }));
  root.replaceChildren(
    element("div", { class: "scrub" }, play, shown),
    element("div", { class: "track" }, scrub,
      element("div", { class: "ticks", "aria-hidden": "true" }, ...ticks)),
    note,
  );

  function show(i) {
    scrub.value = i;
    shown.textContent = stops[i].words;
    note.textContent = stops[i].note;
    scrub.setAttribute("aria-valuetext", stops[i].words);
    ticks.forEach((tick, j) => tick.toggleAttribute("aria-current", i === j));
    epoch.set(i);
  }

  /* A rerun is for what stands still: not for each of many arrow keys. */
  function settle() {
    clearTimeout(pending);
    pending = setTimeout(() => {
      pending = null;
      current.setStateValue("at", scrub.valueAsNumber);
    }, SETTLE_MS);
  }

  /* From the first epoch to the last, and again, unless less motion is wanted. */
  function start() {
    const once = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    clearTimeout(pending);
    pending = null;
    play.textContent = "Pause";
    show(scrub.valueAsNumber === last ? 0 : scrub.valueAsNumber);
    playing = setInterval(() => {
      if (once && scrub.valueAsNumber === last) pause();
      else show((scrub.valueAsNumber + 1) % stops.length);
    }, STEP_MS);
  }

  function stop() {
    clearInterval(playing);
    playing = null;
    play.textContent = "Play";
  }

  function pause() {
    stop();
    settle();
  }

  /* An epoch's first picture opens its weights: each is asked for once when the hand comes near. */
  const closed = stops.map((one) => one.model);
  const warmer = newView(openNext);
  function openNext() {
    if (!closed.length) return;
    const z = new Float32Array(component.data.z.length);
    const k = weights?.length ?? 0;
    warmer.want({ model: closed.shift(), z, n: 1, d: z.length, weights, k });
  }
  const begin = () => closed.length === stops.length && openNext();
  root.addEventListener("pointerenter", begin);
  root.addEventListener("focusin", begin);

  let told = component.data.at; // where Python said last that it stands
  show(told);
  return {
    update(component) {
      current = component;
      if (component.data.at === told) return;
      told = component.data.at;
      const held = playing || pending || scrub.matches(":active");
      if (!held && told !== scrub.valueAsNumber) show(told); // Back, perhaps
    },
    close() {
      stop();
      clearTimeout(pending);
    },
  };
}

export default instances(buildScrubber);
