/* What the benchmark records inside the page; injected before the page's own scripts.
 *
 * Inputs are events of one kind on one element. A paint is a picture that has changed, together
 * with the index of the newest input that it reflects, or -1. Times are those of performance.now().
 */

class LatentProbe {
  constructor() {
    this.watch(null, null);
    for (const type of ["input", "pointermove", "pointerup"]) {
      window.addEventListener(type, (event) => this.onInput(event), true); // before the page's own
    }
    document.addEventListener("latent-painted", (event) => this.onPaint(event));
    document.addEventListener("load", (event) => this.onLoad(event.target), true);
  }

  /* Forget everything and record `type` events on the element with this data-testid, or inside. */
  watch(type, testid) {
    Object.assign(this, { type, testid, inputs: [], paints: [], stale: 0 });
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
      const known = this.inputs.length - 1;
      const stale =
        known >= 0 && this.type === "input" && !request.z.includes(Math.fround(this.value));
      const answer = await ask.call(channel, view, request);
      this.answered = { known, stale, inputs: this.inputs };
      return answer;
    };
  }

  onPaint(event) {
    if (event.composedPath()[0].dataset.testid !== "live-image") return;
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

window.latentProbe = new LatentProbe();
