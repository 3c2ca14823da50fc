/* A canvas to draw a digit on. Every move of the pen asks the live channel for the code of the
 * drawing and sets the page's latent to it, with its spread; only what the lifted pen leaves is
 * told to Python. Where there is an image from Python instead, it is passed on in the same way.
 * The strokes of one drawing stay in the open tab, so that other pages can be visited meanwhile. */

const SIDE = 560; // of the canvas, in its own pixels
const SENT = 112; // of the drawing that is sent
const PEN = { min: 20, max: 70, value: 44 }; // in pixels of the canvas; MNIST's pen is about 44
const MOST_KEPT = 100000; // places of the pen: minutes of drawing without a pause

function buildDrawing({ component, root, newView }) {
  const seen = signalOf("seen");
  const paper = (window.latentLive.paper ??= { strokes: [], reader: null }); // who read it last
  let current = component;
  let active = null; // the pointer that draws, and its stroke
  let original = null; // as Python told it

  const canvas = element("canvas", {
    width: SIDE,
    height: SIDE,
    tabindex: 0,
    role: "img",
    "aria-label": "Your drawing",
    "data-testid": "drawing",
    onpointerdown: start,
    onpointermove: move,
    onpointerup: lift,
    onpointercancel: lift,
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const small = element("canvas", { width: SENT, height: SENT });
  const smallContext = small.getContext("2d", { willReadFrequently: true });
  const hint = element("div", { class: "hint", text: "Draw a digit", "aria-hidden": "true" });
  const pen = element("input", { type: "range", ...PEN, "aria-label": "Width of the pen" });
  const undoButton = element("button", { text: "Undo", "data-testid": "drawing-undo", onclick: undo });
  const clearButton = element("button", { text: "Clear", "data-testid": "drawing-clear", onclick: clear });
  root.replaceChildren(
    element("div", { onkeydown: press },
      element("div", { class: "paper" }, canvas, hint),
      element("div", { class: "tools" },
        element("label", { class: "pen" }, "Pen", pen), undoButton, clearButton)),
  );

  const view = newView((answer, request) => {
    if (!paper.strokes.length || request.model !== current.data.model) return; // of what is gone
    const { mu, sigma } = posteriorOf(answer);
    const store = storeOf(request.model);
    seen.set(answer);
    store.set(mu, store.weights, sigma);
    if (request.settles) settle(mu);
  });

  function settle(z) {
    const { weights } = storeOf(current.data.model);
    current.setStateValue("settled", {
      z: Array.from(z),
      weights: weights && Array.from(weights),
      at: Date.now(), // drawn again after something else, it must not look like old news
    });
  }

  function start(event) {
    if (active || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    active = { pointer: event.pointerId, stroke: { width: pen.valueAsNumber, points: [] } };
    paper.strokes.push(active.stroke);
    showTools();
    extend([event]);
  }

  function move(event) {
    if (event.pointerId !== active?.pointer) return;
    const all = event.getCoalescedEvents?.() ?? []; // a frame may hold several
    extend(all.length ? all : [event]);
  }

  function lift(event) {
    if (event.pointerId !== active?.pointer) return;
    active = null;
    redraw();
    ask(true);
  }

  function extend(events) {
    const box = canvas.getBoundingClientRect();
    const { points, width } = active.stroke;
    for (const { clientX, clientY } of events) {
      points.push([clientX - box.left, clientY - box.top].map((v) => (v * SIDE) / box.width));
    }
    line(width, points.slice(-events.length - 3)); // a long stroke takes long to draw anew
    ask(false);
  }

  function press(event) {
    if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    undo();
  }

  function undo() {
    if (active || !paper.strokes.length) return;
    paper.strokes.pop();
    redraw();
    if (paper.strokes.length) ask(true);
    else forget();
  }

  function clear() {
    if (active) return;
    paper.strokes = [];
    redraw();
    forget();
  }

  /* Without ink there is nothing to encode; the latent stays, but it is no posterior's mean. */
  function forget() {
    view.want(null);
    seen.set(null);
    const store = storeOf(current.data.model);
    if (store.z) store.set(store.z);
  }

  function redraw() {
    context.fillRect(0, 0, SIDE, SIDE);
    paper.strokes.forEach(({ width, points }) => line(width, points));
    showTools();
  }

  function line(width, points) {
    context.strokeStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width;
    context.stroke(smooth(points));
  }

  function showTools() {
    hint.hidden = paper.strokes.length > 0;
    undoButton.disabled = clearButton.disabled = !paper.strokes.length;
  }

  function ask(settles) {
    smallContext.drawImage(canvas, 0, 0, SENT, SENT);
    const { data } = smallContext.getImageData(0, 0, SENT, SENT);
    const ink = new Uint8Array(SENT * SENT);
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i];
    paper.reader = current.data.model;
    view.want({ model: paper.reader, n: 1, d: SENT, k: 0, ink, settles });
  }

  redraw();
  if (!paper.strokes.length) seen.set(null);
  return {
    update(component) {
      current = component;
      const { data } = component;
      const store = storeOf(data.model);
      store.offer(data);
      const told = data.original && JSON.stringify([data.model, data.token, data.original]);
      if (told && told !== original) {
        const [channels, height, width] = data.shape;
        const pixels = new Uint8Array(fromBase64(data.original.pixels));
        clear();
        seen.set({ height, width, channels, pixels });
        store.set(store.z, store.weights, Float32Array.from(data.original.spread));
      } else if (original && !told && !paper.strokes.length) {
        seen.set(null);
      }
      original = told;
      if (paper.strokes.length && data.model !== paper.reader) ask(true);
    },
    close() {
      const places = paper.strokes.reduce((sum, { points }) => sum + points.length, 0);
      if (places > MOST_KEPT) paper.strokes = [];
    },
  };
}

/* A line through places, rounded by curves that meet halfway between them. */
function smooth(points) {
  const path = new Path2D();
  const [x, y] = points[0];
  path.moveTo(x, y);
  path.lineTo(x + 0.01, y); // a tap is a dot
  for (let i = 1; i < points.length - 1; i++) {
    const [a, b] = [points[i], points[i + 1]];
    path.quadraticCurveTo(...a, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
  }
  path.lineTo(...points.at(-1));
  return path;
}

export default instances(buildDrawing);
