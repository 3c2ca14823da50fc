/* The browser's end of the live channel, shared by every component.
 *
 * Each component's script begins with this file, so everything that must exist once per page (the
 * socket, the stores) hangs on `window.latentLive`. Frames are laid out in explorer/live/protocol.py.
 */

const PROTOCOL_VERSION = 2;
const HEADER_BYTES = 16;
const MAX_PIXEL_BYTES = 16 << 20; // of an answer
const MAX_MESSAGE_BYTES = 1 << 20; // of a request
const MAX_ROWS = 512;
const MAX_NAME_BYTES = 256;
const What = { DECODE: 0, ENCODE: 1 };
const Kind = { PIXELS: 0, ERROR: 1, REPLACED: 2, CODE: 3 };
const RETRY_MS = [250, 500, 1000, 2000];
const UNTOUCHED_MS = 2500; // without a touch
const SLOW_MS = 10000; // without an answer, until people are told
const ROUNDING = 0.001; // of latents that Python was told and tells again
const GIVE_UP_AFTER = 4; // failures before a socket that never opened is called impossible

/* Latents to decode, or the `ink` of a drawing of side d to encode. */
function packRequest(id, view, { model, z, n, d, weights, k, ink }) {
  const name = new TextEncoder().encode(model);
  const start = HEADER_BYTES + Math.ceil(name.length / 4) * 4;
  const buffer = new ArrayBuffer(start + (ink ? ink.length : 4 * n * (d + k)));
  const head = new DataView(buffer);
  head.setUint8(0, PROTOCOL_VERSION);
  head.setUint8(1, name.length);
  head.setUint16(2, view, true);
  head.setUint32(4, id, true);
  head.setUint16(8, n, true);
  head.setUint16(10, d, true);
  head.setUint16(12, k, true);
  head.setUint16(14, ink ? What.ENCODE : What.DECODE, true);
  new Uint8Array(buffer, HEADER_BYTES).set(name);
  if (ink) new Uint8Array(buffer, start).set(ink);
  else new Float32Array(buffer, start, n * d).set(z);
  if (k) new Float32Array(buffer, start + 4 * n * d, n * k).set(weights);
  return buffer;
}

function rowsOfRequest({ model, z, n, d, weights, k }, first, end) {
  const last = Math.min(end, n);
  return {
    model,
    z: z.subarray(first * d, last * d),
    n: last - first,
    d,
    weights: weights?.subarray(first * k, last * k),
    k,
  };
}

function unpackAnswer(buffer) {
  const head = new DataView(buffer);
  const kind = head.getUint8(1);
  return {
    kind,
    n: head.getUint16(2, true),
    id: head.getUint32(4, true),
    height: head.getUint16(8, true),
    width: head.getUint16(10, true),
    channels: head.getUint8(12),
    pixels: new Uint8Array(buffer, HEADER_BYTES),
    message:
      kind === Kind.ERROR ? new TextDecoder().decode(buffer.slice(HEADER_BYTES)) : "",
  };
}

/* The posterior that an answer carries behind the pixels that the model saw. */
function posteriorOf({ pixels, height, width, channels }) {
  const size = height * width * channels;
  const numbers = new Float32Array(pixels.buffer, HEADER_BYTES + Math.ceil(size / 4) * 4);
  const d = numbers.length / 2;
  return { mu: numbers.slice(0, d), sigma: numbers.slice(d) };
}

/* One WebSocket for the whole page. It reconnects by itself; what was in flight is asked again by
 * the views. State: connecting, open, lost (was open before) or impossible (never opened). */
class Channel {
  constructor(path) {
    this.url = new URL(path, window.location.href);
    this.url.protocol = this.url.protocol === "https:" ? "wss:" : "ws:";
    this.waiting = new Map();
    this.listeners = new Set();
    this.ids = 0;
    this.views = 0;
    this.failures = 0;
    this.state = "connecting";
    this.connect();
  }

  connect() {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.failures = 0;
      this.opened = true;
      this.setState("open");
    };
    socket.onmessage = ({ data }) => {
      const answer = unpackAnswer(data);
      const settle = this.waiting.get(answer.id);
      this.waiting.delete(answer.id);
      settle?.(answer);
    };
    socket.onclose = () => {
      const unanswered = [...this.waiting.values()];
      this.waiting.clear();
      this.failures += 1;
      const impossible = !this.opened && this.failures >= GIVE_UP_AFTER;
      this.setState(this.opened ? "lost" : impossible ? "impossible" : "connecting");
      unanswered.forEach((settle) => settle(null));
      const pause = RETRY_MS[Math.min(this.failures, RETRY_MS.length) - 1];
      setTimeout(() => this.connect(), impossible ? 30000 : pause);
    };
    this.socket = socket;
  }

  setState(state) {
    this.state = state;
    this.listeners.forEach((listener) => listener(state));
  }

  newView() {
    this.views = (this.views + 1) % 0xffff;
    return this.views;
  }

  /* Resolves to the answer, or to null where the socket closed before it came. */
  ask(view, request) {
    return new Promise((resolve) => {
      this.ids = (this.ids + 1) % 0xffffffff;
      this.waiting.set(this.ids, resolve);
      this.socket.send(packRequest(this.ids, view, request));
    });
  }
}

/* Streamlit's own channel, for where a proxy lets no WebSocket of ours through: the same frames,
 * in base64, as component state; one rerun per picture. */
class Fallback {
  constructor() {
    this.queue = [];
    this.ids = 0; // makes every frame new: Streamlit takes no notice of a value it has already
  }

  ask(view, request) {
    return new Promise((resolve) => {
      this.ids += 1;
      this.queue.push({ frame: toBase64(packRequest(this.ids, view, request)), resolve });
      this.pump();
    });
  }

  pump() {
    if (this.asked || !this.queue.length) return;
    this.asked = this.queue.shift();
    this.component.setStateValue("ask", this.asked.frame);
  }

  update(component) {
    this.component = component;
    const { reply } = component.data;
    if (!this.asked || !reply || reply.ask !== this.asked.frame) return;
    this.asked.resolve(unpackAnswer(fromBase64(reply.answer)));
    this.asked = null;
    this.pump();
  }
}

/* What one canvas, or one set of canvases, wants to show: images of this shape. At most one request
 * is in flight; while it is, only the newest wish is kept. `tell` takes what is wrong with the last
 * one, or "". */
class View {
  constructor(channel, fallback, shape, onAnswer, tell) {
    const bytes = shape.reduce((product, size) => product * size, 1);
    this.most = Math.min(Math.max(Math.floor(MAX_PIXEL_BYTES / bytes), 1), MAX_ROWS);
    this.channel = channel;
    this.fallback = fallback;
    this.onAnswer = onAnswer;
    this.tell = tell;
    this.id = channel.newView();
    this.pump = this.pump.bind(this);
    channel.listeners.add(this.pump);
  }

  want(request) {
    this.wish = request;
    this.pump();
  }

  async pump() {
    if (this.busy || !this.wish) return;
    const { state } = this.channel;
    const road = state === "open" ? this.channel : state === "impossible" ? this.fallback : null;
    if (!road) return; // wait: the channel calls again when its state changes
    const request = this.wish;
    this.wish = null;
    this.busy = true;
    const slow = setTimeout(() => this.tell(SLOW), SLOW_MS);
    const answer = await this.ask(road, request);
    clearTimeout(slow);
    this.busy = false;
    this.tell(answer?.message ?? "");
    if (answer === null) this.wish ??= request;
    else if (answer.kind === Kind.PIXELS || answer.kind === Kind.CODE) this.onAnswer(answer, request);
    this.pump();
  }

  /* The answer to a request; where the server takes or gives no such large one, put together from
   * several. */
  async ask(road, request) {
    const room = (MAX_MESSAGE_BYTES - HEADER_BYTES - MAX_NAME_BYTES) / (4 * (request.d + request.k));
    const most = Math.min(this.most, Math.max(Math.floor(room), 1));
    if (request.ink || request.n <= most) return road.ask(this.id, request);
    const parts = [];
    for (let first = 0; first < request.n; first += most) {
      if (first && this.wish) return { kind: Kind.REPLACED };
      const part = await road.ask(this.id, rowsOfRequest(request, first, first + most));
      if (part?.kind !== Kind.PIXELS) return part;
      parts.push(part);
    }
    const pixels = new Uint8Array(await new Blob(parts.map((part) => part.pixels)).arrayBuffer());
    return { ...parts[0], n: request.n, pixels };
  }

  close() {
    this.wish = null;
    this.channel.listeners.delete(this.pump);
  }
}

/* The latent of one model, which all its components share: one sets it, the others follow. */
class Store {
  constructor() {
    this.z = null;
    this.weights = null;
    this.spread = null; // standard deviations, while the latent is a posterior's mean
    this.token = null;
    this.session = null;
    this.untold = false;
    this.followers = new Set();
  }

  /* Python's value; taken once per token, so that a rerun never undoes what the hand has done.
   * A new session behind the same page means that the server restarted: then the page knows
   * better, and a component that can settles again (`untold`). */
  offer({ z, weights, token, session }) {
    if (token === this.token) return;
    const restarted = this.session !== null && session !== this.session;
    this.token = token;
    this.session = session;
    if (restarted) this.untold = true;
    else if (!this.holds(z, weights ?? [])) {
      this.set(Float32Array.from(z), weights ? Float32Array.from(weights) : null);
    }
  }

  /* Whether this is the latent already, but for the rounding of what Python is told. */
  holds(z, weights) {
    return this.z?.length === z.length
      && z.every((value, i) => Math.abs(value - this.z[i]) < ROUNDING)
      && weights.join() === (this.weights ?? []).join();
  }

  set(z, weights = this.weights, spread = null) {
    this.z = z;
    this.weights = weights;
    this.spread = spread;
    this.followers.forEach((follow) => follow());
  }

  follow(listener) {
    this.followers.add(listener);
    if (this.z) listener();
    return () => this.followers.delete(listener);
  }
}

/* One value that components of a page share beside the latent, such as the epoch that is shown:
 * whoever sets it, all follow. */
class Signal {
  constructor() {
    this.value = null;
    this.followers = new Set();
  }

  set(value) {
    if (value === this.value) return;
    this.value = value;
    this.followers.forEach((follow) => follow(value));
  }

  follow(listener) {
    this.followers.add(listener);
    if (this.value !== null) listener(this.value);
    return () => this.followers.delete(listener);
  }
}

function live({ socket, plotly }) {
  if (!window.latentLive) {
    window.latentLive = { channel: new Channel(socket), stores: new Map(), signals: new Map() };
    loadPlotlyAtRest(plotly);
  }
  return window.latentLive;
}

function signalOf(name) {
  const { signals } = window.latentLive;
  if (!signals.has(name)) signals.set(name, new Signal());
  return signals.get(name);
}

function storeOf(model) {
  const { stores } = window.latentLive;
  if (!stores.has(model)) stores.set(model, new Store());
  return stores.get(model);
}

/* Streamlit calls a component's default export again for every rerun. This makes of it an object
 * that is built once, told of new data, and closed at the end. */
function instances(build) {
  const alive = new WeakMap();
  return (component) => {
    const { parentElement, data } = component;
    const { channel } = live(data);
    let instance = alive.get(parentElement);
    if (!instance) {
      const fallback = new Fallback();
      const views = [];
      const status = new Status(parentElement.querySelector(".latent-status"), channel);
      instance = build({
        component,
        root: parentElement.querySelector(".latent"),
        tell: (problem) => status.tell(component, problem),
        newView: (onAnswer) => {
          const view = new View(channel, fallback, data.shape, onAnswer, (problem) =>
            status.tell(view, problem));
          views.push(view);
          return view;
        },
      });
      instance.fallback = fallback;
      instance.end = () => {
        alive.delete(parentElement);
        views.forEach((view) => view.close());
        status.close();
        instance.close?.();
      };
      alive.set(parentElement, instance);
    }
    instance.fallback.update(component);
    instance.update(component);
    return instance.end;
  };
}

const SLOW = `No answer for ${SLOW_MS / 1000} s: the server is busy, or cannot be reached.`;
const STATES = {
  connecting: "",
  open: "",
  lost: "The server is not answering. Reconnecting…",
  impossible: "No live channel through this network: pictures come through Streamlit, one per step.",
};

/* The line below a component: what is wrong with one of its parts, else with the channel. */
class Status {
  constructor(element, channel) {
    this.element = element;
    this.channel = channel;
    this.problems = new Map();
    this.show = this.show.bind(this);
    channel.listeners.add(this.show);
    this.show();
  }

  /* What is wrong with a part from now on, or "" where nothing is. */
  tell(part, problem) {
    this.problems.set(part, problem);
    this.show();
  }

  show() {
    const problem = [...this.problems.values()].find(Boolean);
    const words = problem ?? STATES[this.channel.state];
    if (this.element.textContent !== words) this.element.textContent = words;
  }

  close() {
    this.channel.listeners.delete(this.show);
  }
}

function toBase64(buffer) {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
}

function floats(base64) {
  return new Float32Array(fromBase64(base64));
}

/* Paint image i of an answer on a canvas, at its own size; CSS scales it without smoothing. */
function paint(canvas, { height, width, channels, pixels }, i = 0, x = 0) {
  // Kept in main memory: a round trip to the graphics process takes longer than these few pixels.
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(width, height);
  const offset = i * height * width * channels;
  for (let p = 0; p < height * width; p++) {
    for (let c = 0; c < 3; c++) {
      image.data[4 * p + c] = pixels[offset + p * channels + (channels === 1 ? 0 : c)];
    }
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, x, 0);
}

/* Say that a canvas shows something new: tests, benchmarks and assistive scripts listen. */
function announce(canvas) {
  canvas.dataset.painted = Number(canvas.dataset.painted ?? 0) + 1;
  canvas.dispatchEvent(new CustomEvent("latent-painted", { bubbles: true, composed: true }));
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const SMOOTH_FROM = 64; // pixels: larger images are photographs, and are as often shown smaller

/* A canvas for images (channels, height, width), `count` of them side by side. */
function imageCanvas([, height, width], label, testid, count = 1) {
  return element("canvas", {
    width: width * count,
    height,
    class: height >= SMOOTH_FROM ? "smooth" : null,
    role: "img",
    "aria-label": label,
    "data-testid": testid,
  });
}

function oneHot(i, k) {
  const weights = new Float32Array(k);
  weights[i] = 1;
  return weights;
}

function repeatRow(row, n) {
  const out = new Float32Array(row.length * n);
  for (let i = 0; i < n; i++) out.set(row, i * row.length);
  return out;
}

/* `work` as a function whose calls follow one another; of those that wait only the last is made.
 * Plotly's plots need it: each lays out its margins in steps, and another would join in. */
function inTurn(work) {
  let turn = Promise.resolve();
  let asked = 0;
  return (given) => {
    const mine = ++asked;
    turn = turn.catch(() => {}).then(() => (mine === asked ? work(given) : undefined));
    return turn;
  };
}

/* The plotly.js of the installed package, once per page. */
function loadPlotly(path) {
  window.latentPlotly ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    // The first page brings the script along; links to other pages do not.
    const script = document.getElementById("latent-plotly") ?? element("script", { src: path });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      script.remove();
      window.latentPlotly = null; // whoever needs it next asks again
      reject(new Error("plotly.js could not be loaded: reload the page"));
    });
    return document.head.append(script);
  });
  return window.latentPlotly;
}

/* The same before anybody needs it, for the map that is likely to be opened next. Running it holds
 * the page up for half a second, so it waits until nothing has been touched for a while. */
function loadPlotlyAtRest(path) {
  const touches = ["pointermove", "pointerdown", "keydown", "wheel"];
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(load, UNTOUCHED_MS);
  };
  const load = () => {
    touches.forEach((touch) => window.removeEventListener(touch, wait, true));
    loadPlotly(path).catch(() => {}); // the map says so when it fails again
  };
  touches.forEach((touch) => window.addEventListener(touch, wait, { capture: true, passive: true }));
  wait();
}

function hasWebGL() {
  window.latentWebGL ??= Boolean(document.createElement("canvas").getContext("webgl"));
  return window.latentWebGL; // a context takes long to make, and a page may have but a few
}
