/* A GAN of the plane that trains in a process behind a socket of its own. Pictures of the run come
 * as it goes, each whole (explorer/lab_job.py); Python hears of it when it comes to a stop. */

const PLAY_PACE = 0; // steps a second; 0 is as fast as the processor can
const SLOW_PACE = 6;
const SETTLE_MS = 250;
const CALM_MS = 500; // between two pictures where less motion is wanted
const SPEAK_MS = 5000; // between two readings aloud of a run under way
const MARGIN = 0.03; // of the drawing around the square
const NUDGE = 0.05; // an arrow key, as a share of half the square
const LAYERS = {
  field: "data, says D", // a discriminator, or a critic
  data: "Data",
  samples: "Samples",
  warp: "The latent grid, bent",
};
const TERMS = {
  gan: [["−E log D(x)", "real"], ["−E log(1 − D(G(z)))", "fake"]],
  critic: [["−E D(x)", "real"], ["E D(G(z))", "fake"], ["E (|∇D| − 1)²", "penalty"]],
};

/* The line to a process: opened when it is needed, and anew after its end. */
class Line {
  constructor(path, onPicture, onEnd) {
    this.url = new URL(path, window.location.href);
    this.url.protocol = this.url.protocol === "https:" ? "wss:" : "ws:";
    this.onPicture = onPicture;
    this.onEnd = onEnd;
  }

  get open() {
    return Boolean(this.socket);
  }

  send(command) {
    if (!this.socket) this.connect();
    const text = JSON.stringify(command);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
    else this.waiting.push(text);
  }

  connect() {
    const socket = new WebSocket(this.url);
    let answered = false;
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.waiting = [];
    socket.onopen = () => this.waiting.splice(0).forEach((text) => socket.send(text));
    socket.onmessage = ({ data }) => {
      answered = true;
      if (this.socket === socket) this.onPicture(unpackPicture(data));
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.onEnd(answered);
    };
  }

  close() {
    const { socket } = this;
    this.socket = null;
    // A browser writes of a socket that is closed before it is open into the console.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }
}

function unpackPicture(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  for (const [name, shape] of Object.entries(head.blocks)) {
    const count = shape.reduce((product, size) => product * size, 1);
    head[name] = new Float32Array(buffer, start, count);
    start += 4 * count;
  }
  return head;
}

function buildLab({ component, root }) {
  const { lab, colours } = component.data;
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let current = component;
  let own = {}; // the seed and the points, once the hand has chosen them
  let begun = null; // the setting that was last begun
  let settles = false; // whether Python is to hear of it when the run stands still
  let picture = null; // the newest
  let wish = null; // a step to wind back to, while a picture is on its way
  let asked = false;
  let slow = false;
  let pending = null;
  let frame = null;
  let drawn = 0;
  let spoken = 0;
  let cursor = [0, 0];

  const canvas = element("canvas", {
    tabindex: 0,
    role: "img",
    "aria-label": "The plane",
    "data-testid": "lab-plane",
    onclick: add,
  });
  const layers = Object.fromEntries(Object.keys(LAYERS).map((name) => [name, element("input", {
    type: "checkbox",
    "data-testid": `lab-layer-${name}`,
    onchange: draw,
  })]));
  for (const name of ["field", "data", "samples"]) layers[name].checked = true;
  const button = (text, testid, onclick) =>
    element("button", { type: "button", text, "data-testid": testid, onclick });
  const playButton = button("Play", "lab-play", toggle);
  const stepButton = button("Step", "lab-step", () => order({ do: "step" }));
  const slowButton = button("Slow motion", "lab-slow", () => setSlow(!slow));
  const seedButton = button("New seed", "lab-seed", () => begin({ seed: setting().seed + 1 }));
  slowButton.setAttribute("aria-pressed", false);
  const rewind = element("input", {
    type: "range", min: 0, max: 0, value: 0, step: 1,
    "aria-label": "Wind back to a step",
    "data-testid": "lab-rewind",
    oninput: () => windTo(rewind.valueAsNumber),
  });
  const at = element("output", { "data-testid": "lab-at" });
  const numbers = element("dl", { class: "numbers" });
  const curves = element("div", { class: "curves" });
  const spokenWords = element("p", { class: "spoken", role: "status", "data-testid": "lab-words" });
  const trouble = element("p", { class: "trouble", role: "alert", "data-testid": "lab-trouble" });
  const hint = element("p", { class: "hint", "data-testid": "lab-hint" });
  root.replaceChildren(element("div", { class: "lab", onkeydown: press },
    element("div", { class: "side" },
      element("div", { class: "square" }, canvas),
      hint,
      element("fieldset", {}, element("legend", { text: "Shown" }),
        ...Object.entries(LAYERS).map(([name, words]) =>
          element("label", {}, layers[name], name === "field" ? "generated" : "",
            swatch(name, colours), words))),
    ),
    element("div", { class: "side" },
      element("div", { class: "row" }, playButton, stepButton, slowButton, seedButton),
      element("label", { class: "row" }, "Step", rewind, at),
      trouble, numbers, curves, spokenWords),
  ));

  const line = new Line(lab, show, (answered) => {
    picture = picture && { ...picture, playing: false };
    asked = false;
    if (!picture) numbers.replaceChildren();
    showControls();
    trouble.textContent ||= answered // unless the server has said why
      ? "The server is not answering. Press Play to begin anew."
      : "There is no way to the lab: the server has gone, or this network lets no WebSocket "
        + "through. Reload the page, or open the app on the computer that it runs on.";
  });

  /* Begin a run of what Python tells, with the seed and the points that the hand has chosen. */
  function begin(changes = {}) {
    own = { ...own, ...changes };
    begun = JSON.stringify(setting());
    picture = null;
    trouble.textContent = "";
    if (!canTrain()) line.close();
    else {
      if (!line.open) numbers.replaceChildren(element("div", { text: "The lab is starting…" }));
      line.send({ do: "new", setting: setting() });
    }
    showControls();
    draw();
  }

  function setting() {
    const { points, ...chosen } = own;
    return { ...current.data.setting, ...chosen, ...(current.data.points && points && { points }) };
  }
  const canTrain = () => setting().data !== "points" || setting().points.length > 0;

  function order(command) {
    if (!line.open) begin();
    settles = command.do !== "rewind";
    line.send(command);
  }

  function toggle() {
    if (picture?.playing) order({ do: "pause" });
    else if (canTrain()) play();
  }

  function play() {
    const { until, mostSteps } = current.data;
    const step = line.open && picture ? picture.step : 0;
    const end = step < until ? until : Math.min(step + until, mostSteps);
    order({ do: "play", until: end, pace: slow ? SLOW_PACE : PLAY_PACE });
  }

  function setSlow(on) {
    slow = on;
    slowButton.setAttribute("aria-pressed", on);
    if (picture?.playing) play();
  }

  /* One at a time: the next when the picture of the last has come. */
  function windTo(step) {
    wish = step;
    if (asked || !line.open) return;
    asked = true;
    order({ do: "rewind", step });
    wish = null;
  }

  function show(next) {
    trouble.textContent = next.problem ?? "";
    if (!next.columns) return;
    picture = next;
    asked = false;
    if (wish !== null) windTo(wish);
    showControls();
    frame ??= requestAnimationFrame(() => {
      frame = null;
      const now = performance.now();
      if (calm && picture?.playing && now - drawn < CALM_MS) return;
      drawn = now;
      draw();
      showNumbers();
    });
    if (settles && !next.playing) settle();
    if (!next.playing || performance.now() - spoken > SPEAK_MS) speak();
  }

  /* A rerun is for a run that stands still: not for each of many steps. */
  function settle() {
    clearTimeout(pending);
    const ran = setting();
    pending = setTimeout(() => {
      if (!picture || picture.playing) return;
      const { now, columns, moments } = picture;
      current.setStateValue("settled", {
        setting: ran,
        now,
        moments: rowsOf(moments, columns.length).map((row) =>
          Object.fromEntries(columns.map((name, i) => [name, short(row[i])]))),
        samples: rowsOf(picture.samples, 2).map((row) => row.map(short)),
        field: Array.from(levels(), (v) => Math.round(255 * v)),
      });
    }, SETTLE_MS);
  }

  function speak() {
    spoken = performance.now();
    const { now, playing } = picture;
    spokenWords.textContent = `${playing ? "Training" : "Standing"} at step ${now.step}: `
      + `${now.modes} of ${centres().length} modes, ${percent(now.good)} of the samples good.`;
  }

  function showControls() {
    const playing = Boolean(picture?.playing);
    playButton.textContent = playing ? "Pause" : "Play";
    for (const one of [playButton, stepButton]) one.disabled = !canTrain();
    rewind.disabled = !picture || !line.open;
    rewind.max = Math.max(picture?.reached ?? 0, picture?.step ?? 0);
    if (wish === null && !asked) rewind.value = picture?.step ?? 0;
    rewind.setAttribute("aria-valuetext", `step ${picture?.step ?? 0}`);
    at.textContent = (picture?.step ?? 0).toLocaleString("en");
    hint.hidden = !current.data.points;
    hint.textContent = "Click to set a mode; or move the cross with the arrow keys and press "
      + `Enter. Backspace takes the last one away. ${points().length} of ${current.data.mostPoints}.`;
  }

  /* Keys: Space plays wherever it has no meaning of its own. */
  function press(event) {
    const { key, target } = event;
    if (key === " " && (target === canvas || target === rewind)) toggle();
    else if (target !== canvas || !current.data.points) return;
    else if (key === "Enter") put(cursor);
    else if (key === "Backspace") begin({ points: points().slice(0, -1) });
    else if (key.startsWith("Arrow")) nudge(key);
    else return;
    event.preventDefault();
  }

  function nudge(key) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
    cursor = [cursor[0] + NUDGE * dx, cursor[1] + NUDGE * dy].map((v) => Math.min(Math.max(v, -1), 1));
    spokenWords.textContent = `The cross is at ${cursor.map((v) => v.toFixed(2)).join(", ")}.`;
    draw();
  }

  const points = () => setting().points;
  const centres = () => (current.data.points ? points() : current.data.centres);

  function add(event) {
    if (!current.data.points) return;
    const box = canvas.getBoundingClientRect();
    const { limit } = current.data;
    put([event.clientX - box.left, event.clientY - box.top].map((v, i) => {
      const share = (v / box.width - MARGIN) / (1 - 2 * MARGIN);
      return (i ? 1 - 2 * share : 2 * share - 1) * limit;
    }));
  }

  function put(place) {
    const next = place.map((v) => Math.round(Math.min(Math.max(v, -1), 1) * 1000) / 1000);
    if (points().length < current.data.mostPoints) begin({ points: [...points(), next] });
  }

  /* The field as levels in [0, 1]: D itself, or a critic's score between its extremes. */
  function levels() {
    const { field, critic } = picture;
    if (!critic) return field;
    const [low, high] = [Math.min(...field), Math.max(...field)];
    return field.map((v) => (v - low) / (high - low || 1));
  }

  function draw() {
    const side = Math.round(canvas.clientWidth * window.devicePixelRatio);
    if (!side) return;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(root);
    const ground = style.getPropertyValue("--st-background-color");
    const text = style.getPropertyValue("--st-text-color");
    const { limit, std, points: editable } = current.data;
    const inner = side * (1 - 2 * MARGIN);
    const unit = inner / (2 * limit);
    const place = (x, y) => [side / 2 + x * unit, side / 2 - y * unit];
    const dot = side / 240;
    context.fillStyle = ground;
    context.fillRect(0, 0, side, side);
    if (picture && layers.field.checked) drawField(context, side * MARGIN, inner, ground);
    context.lineWidth = dot / 2;
    context.strokeStyle = text;
    for (const [x, y] of centres()) {
      context.beginPath();
      context.arc(...place(x, y), 3 * std * unit, 0, 2 * Math.PI);
      context.stroke();
    }
    if (picture && layers.warp.checked) drawWarp(context, place, dot);
    if (picture && layers.data.checked) {
      context.strokeStyle = colours[2];
      context.lineWidth = dot * 0.7;
      context.beginPath();
      for (const [x, y] of rowsOf(picture.data, 2)) {
        const [u, v] = place(x, y);
        context.moveTo(u - dot, v - dot);
        context.lineTo(u + dot, v + dot);
        context.moveTo(u - dot, v + dot);
        context.lineTo(u + dot, v - dot);
      }
      context.stroke();
    }
    if (picture && layers.samples.checked) {
      context.fillStyle = text;
      context.strokeStyle = ground;
      context.lineWidth = dot / 3;
      for (const [x, y] of rowsOf(picture.samples, 2)) {
        context.beginPath();
        context.arc(...place(x, y), dot * 1.3, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      }
    }
    if (editable) {
      const [u, v] = place(...cursor);
      context.strokeStyle = text;
      context.lineWidth = dot / 2;
      context.strokeRect(u - 3 * dot, v, 6 * dot, 0);
      context.strokeRect(u, v - 3 * dot, 0, 6 * dot);
    }
    describe();
    announce(canvas);
  }

  function drawField(context, start, inner, ground) {
    const n = picture.blocks.field[0];
    const small = element("canvas", { width: n, height: n });
    const image = new ImageData(n, n);
    const [low, high, middle] = [colours[0], colours[1], ground].map(rgb);
    levels().forEach((level, i) => {
      const [end, share] = level < 0.5 ? [low, 1 - 2 * level] : [high, 2 * level - 1];
      const row = n - 1 - Math.floor(i / n); // the field begins below, an image above
      const p = 4 * (row * n + (i % n));
      for (let c = 0; c < 3; c++) image.data[p + c] = middle[c] + 0.7 * share * (end[c] - middle[c]);
      image.data[p + 3] = 255;
    });
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(small, start, start, inner, inner);
  }

  function drawWarp(context, place, dot) {
    const n = picture.blocks.warp[0];
    const node = (i, j) => place(picture.warp[2 * (i * n + j)], picture.warp[2 * (i * n + j) + 1]);
    context.strokeStyle = colours[3];
    context.lineWidth = dot * 0.6;
    context.beginPath();
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        if (j) context.lineTo(...node(i, j));
        else context.moveTo(...node(i, j));
      }
      for (let j = 0; j < n; j++) {
        if (j) context.lineTo(...node(j, i));
        else context.moveTo(...node(j, i));
      }
    }
    context.stroke();
  }

  function describe() {
    const now = picture?.now;
    canvas.setAttribute("aria-label", now
      ? `The plane at step ${now.step}: ${centres().length} modes as circles, samples as dots `
        + `around ${now.x.toFixed(1)}, ${now.y.toFixed(1)}, spread ${now.spread.toFixed(2)}`
      : `The plane with ${centres().length} modes as circles; nothing is trained yet`);
  }

  function showNumbers() {
    if (!picture) return;
    const { now, critic, columns, moments } = picture;
    const terms = TERMS[critic ? "critic" : "gan"].filter(
      ([, name]) => name !== "penalty" || setting().objective === "wgan-gp");
    const rows = [
      ["Modes", `${now.modes} of ${centres().length}`, "modes"],
      ["Good samples", percent(now.good), "good"],
      [critic ? "Critic's loss" : "Discriminator's loss", now.discriminator.toFixed(3), "discriminator"],
      ...terms.map(([words, name]) => [words, now[name].toFixed(3), `term-${name}`]),
      ["Generator's loss", now.generator.toFixed(3), "generator"],
    ];
    numbers.replaceChildren(...rows.map(([words, value, name]) =>
      element("div", { class: name.startsWith("term") ? "term" : "" },
        element("dt", { text: words }), element("dd", { text: value, "data-testid": `lab-${name}` }))));
    const column = (name) => rowsOf(moments, columns.length).map((row) => row[columns.indexOf(name)]);
    const steps = column("step");
    curves.replaceChildren(
      chart("Modes", steps, now.step, [column("modes")], centres().length),
      chart("Good samples", steps, now.step, [column("good")], 1),
      chart("Losses: D, and G dashed", steps, now.step,
        [column("discriminator"), column("generator")]),
    );
  }

  /* Lines over the steps; from 0 to `top`, or between their extremes. */
  function chart(title, steps, now, series, top = null) {
    const all = series.flat();
    const [low, high] = top === null ? [Math.min(...all), Math.max(...all)] : [0, top];
    const end = Math.max(steps.at(-1), now, 1);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 100 40");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const path = (d, name, colour) => {
      const one = document.createElementNS("http://www.w3.org/2000/svg", "path");
      one.setAttribute("d", d);
      one.setAttribute("class", name);
      if (colour) one.style.stroke = colour;
      svg.append(one);
    };
    path(`M ${(100 * now) / end} 0 V 40`, "now");
    series.forEach((values, i) => {
      const places = values.map((v, j) =>
        `${(100 * steps[j]) / end} ${38 - (36 * (v - low)) / (high - low || 1)}`);
      path(`M ${places.join(" L ")}`, i ? "dashed" : "", colours[i]);
    });
    return element("figure", {}, element("figcaption", { text: title }), svg);
  }

  const watcher = new ResizeObserver(draw);
  watcher.observe(canvas);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw);
  const hide = () => document.hidden && picture?.playing && order({ do: "pause" });
  document.addEventListener("visibilitychange", hide);

  return {
    update(component) {
      current = component;
      if (JSON.stringify(setting()) === begun) showControls();
      else begin();
    },
    close() {
      line.close();
      clearTimeout(pending);
      cancelAnimationFrame(frame);
      watcher.disconnect();
      dark.removeEventListener("change", draw);
      document.removeEventListener("visibilitychange", hide);
    },
  };
}

const percent = (share) => `${(100 * share).toFixed(0)} %`;
const short = (v) => Math.round(v * 1e4) / 1e4;

function rowsOf(block, width) {
  const rows = [];
  for (let i = 0; i < block.length; i += width) rows.push(Array.from(block.subarray(i, i + width)));
  return rows;
}

/* How a layer is drawn, beside its name. */
function swatch(name, [low, high, data, warp]) {
  const mark = { data: "×", samples: "●", warp: "#" }[name];
  const one = element("span", { class: `swatch ${name}`, "aria-hidden": "true", text: mark ?? "" });
  if (mark) one.style.color = { data, warp }[name] ?? "";
  else one.style.background = `linear-gradient(90deg, ${low}, transparent, ${high})`;
  return one;
}

/* A colour of the theme as numbers. */
function rgb(colour) {
  const context = element("canvas", { width: 1, height: 1 }).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return Array.from(context.getImageData(0, 0, 1, 1).data.subarray(0, 3));
}

export default instances(buildLab);
