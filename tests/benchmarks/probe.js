/* What the benchmark records inside the page; injected before the page's own scripts.
 *
 * Inputs are events of one kind on one element. A paint is a picture that has changed, together
 * with the index of the newest input that it reflects, or -1. Times are those of performance.now().
 */

const HEADER_BYTES = 16;
const CODE = 3; // kind of an answer: what the encoder made of a drawing

class LatentProbe {
  constructor() {
    this.watch(null, null);
    for (const type of ["input", "pointermove", "pointerup"]) {
      window.addEventListener(type, (event) => this.onInput(event), true); // before the page's own
    }
    document.addEventListener("latent-painted", (event) => this.onPaint(event));
    document.addEventListener("load", (event) => this.onLoad(event.target), true);
  }

  /* Forget everything and record `type` events on the element with this data-testid, or inside, and
   * what is painted on the canvas called `shown`. */
  watch(type, testid, shown) {
    Object.assign(this, { type, testid, shown, inputs: [], paints: [], stale: 0, read: null });
    if (window.latentLive) this.wrap(window.latentLive.channel);
  }

  onInput(event) {
    const path = event.composedPath();
    if (event.type !== this.type || !path.some((at) => at.dataset?.testid === this.testid)) return;
    this.inputs.push(event.timeStamp);
    this.value = path[0].valueAsNumber; // a number for range sliders alone
  }

  /* The page paints in the microtasks that follow an answer's arrival, so the request whose answer
   * arrived last is the one that is painted. It knew every input that had happened when it was
   * sent; that it holds the newest one's value is checked, not assumed. */
  wrap(channel) {
    if (channel.probed) return;
    channel.probed = true;
    const ask = channel.ask;
    channel.ask = async (view, request) => {
      const asked = { ...this.reflected(request), inputs: this.inputs };
      const answer = await ask.call(channel, view, request);
      this.answered = asked;
      if (answer?.kind === CODE && asked.inputs === this.inputs) {
        this.read = { known: asked.known, mean: firstMean(answer) };
      }
      return answer;
    };
  }

  /* Index of the newest input that a request knows of, and whether it does not hold its value. A
   * code that is to be drawn is as new as the drawing that was read last. */
  reflected({ z, ink }) {
    const known = this.inputs.length - 1;
    if (this.testid === "drawing" && !ink) {
      const { read } = this;
      return read ? { known: read.known, stale: z[0] !== read.mean } : { known: -1, stale: false };
    }
    const stale = known >= 0 && this.type === "input" && !z.includes(Math.fround(this.value));
    return { known, stale };
  }

  onPaint(event) {
    if (event.composedPath()[0].dataset.testid !== this.shown) return;
    if (this.answered?.inputs !== this.inputs) return; // asked before this recording began
    this.stale += this.answered.stale;
    this.paints.push([performance.now(), this.answered.known]);
  }

  /* Pictures of the native way: an <img> with a new source, loaded and decoded. */
  async onLoad(image) {
    if (!(image instanceof HTMLImageElement) || image.src === this.source) return;
    this.source = image.src;
    const known = this.inputs.length - 1;
    await image.decode();
    this.paints.push([performance.now(), known]);
  }

  /* Whether the newest input has been painted. */
  settled() {
    return this.inputs.length > 0 && this.paints.at(-1)?.[1] === this.inputs.length - 1;
  }

  recording() {
    return { inputs: this.inputs, paints: this.paints, stale: this.stale };
  }
}

/* The first number of the posterior's mean, which follows the pixels that the model saw. */
function firstMean({ pixels, height, width, channels }) {
  const size = Math.ceil((height * width * channels) / 4) * 4;
  return new DataView(pixels.buffer).getFloat32(HEADER_BYTES + size, true);
}

window.latentProbe = new LatentProbe();
