/* A Plotly figure in the theme's colours, and its downloads. Python says what is drawn; how it
 * looks is here. */

const SIZE = 13; // CSS pixels of words, where the page's own are of their usual size
const USUAL = 16;
const HEIGHT = 340;
const SAVED = { width: 1000, height: 560 }; // CSS pixels of a saved picture, on whatever screen

function buildFigure({ component, root, tell }) {
  let current = component;
  let drawn = null;
  let theme = null; // colour and size of the words
  let closed = false;

  const caption = element("figcaption");
  const surface = element("div", { class: "surface", role: "img", "data-testid": "figure" });
  const { model, marks } = component.data;
  const mark = element("div", { class: "mark", "data-testid": "figure-mark", hidden: "" });
  const buttons = ["png", "svg"].map((format) => element("button", {
    type: "button",
    "data-testid": `figure-${format}`,
    text: format.toUpperCase(),
    onclick: () => save(format).then(() => tell(""), (error) => tell(error.message)),
  }));
  root.replaceChildren(element("figure", { class: "chart" }, caption,
    element("div", { class: "marked" }, surface, mark),
    element("div", { class: "saves" }, ...buttons)));
  const epoch = marks.length ? signalOf(`epoch ${model}`) : null;
  const unwatch = epoch?.follow(showMark);

  /* A line over the plot at the stop that the page's scrubber stands on: moving it draws nothing. */
  function showMark() {
    const x = marks[epoch?.value];
    mark.hidden = !drawn || x === undefined;
    if (mark.hidden) return;
    const { xaxis, yaxis } = surface._fullLayout;
    const place = xaxis.d2p(x);
    mark.hidden = place < 0 || place > xaxis._length; // zoomed away
    mark.style.height = `${yaxis._length}px`;
    mark.style.transform = `translate(${xaxis._offset + place}px, ${yaxis._offset}px)`;
    mark.dataset.at = x;
  }

  /* Data and layout as Plotly wants them, with words so many times as large as usual; a fresh copy,
   * as Plotly writes into what it is given. */
  function content(scale) {
    const { data, layout } = JSON.parse(current.data.figure);
    if (!hasWebGL()) {
      for (const trace of data) trace.type = trace.type.replace(/gl$/, "");
    }
    const height = HEIGHT * Math.min(scale, 1.4);
    return { data, layout: { height, ...layout, template: look(root, scale) } };
  }

  const draw = () => loadPlotly(current.data.plotly).then(drawWith);

  const drawWith = inTurn(async (Plotly) => {
    if (closed) return;
    const { data, layout } = content(enlarged());
    // On a touch screen a finger scrolls the page; it must not be caught to zoom.
    if (window.matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    const first = !drawn;
    drawn = await Plotly.react(surface, data, layout, { responsive: true, displayModeBar: false });
    if (closed) return Plotly.purge(surface);
    if (first && epoch) drawn.on("plotly_afterplot", showMark); // zoomed or resized
    showMark();
    surface.dataset.ready = "true";
    return undefined;
  });

  async function save(format) {
    const Plotly = await loadPlotly(current.data.plotly);
    const { data, layout } = content(1);
    const { file, title } = current.data;
    const named = { ...layout, height: undefined, title: { text: title, x: 0.02 } };
    named.margin = { ...margin(SIZE), t: 90 };
    await Plotly.downloadImage(
      { data, layout: named },
      { ...SAVED, format, filename: file, scale: format === "png" ? 2 : 1 },
    );
  }

  return {
    update(component) {
      const same = current.data.figure === component.data.figure;
      current = component;
      const { title, alt } = component.data;
      caption.textContent = title;
      surface.setAttribute("aria-label", `${title}. ${alt}`);
      buttons.forEach((button) =>
        button.setAttribute("aria-label", `${button.textContent} of ${title}`));
      const now = `${getComputedStyle(root).color} ${enlarged()}`;
      if (drawn && same && theme === now) return undefined;
      theme = now;
      return draw().then(() => tell(""), (error) => tell(error.message));
    },
    close() {
      closed = true;
      unwatch?.();
      if (drawn) window.Plotly.purge(surface);
    },
  };
}

/* How many times as large as usual the page's words are: the presenter view's are. */
function enlarged() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / USUAL;
}

/* Room for usual labels, those at the very ends of the axes, too. Were it Plotly's to make that
 * (`automargin`), such a label would shorten its axis, lose its tick by that, and with it the room:
 * Plotly would redraw without end. */
function margin(size) {
  return { l: 5 * size, r: 2 * size, t: 1.5 * size, b: 3.5 * size };
}

/* Colours and fonts of the page, as Plotly's defaults. */
function look(root, scale) {
  const style = getComputedStyle(root);
  const [ink, faint, paper] = ["text-color", "border-color", "background-color"].map((name) =>
    style.getPropertyValue(`--st-${name}`).trim());
  const axis = { color: ink, gridcolor: faint, zerolinecolor: faint };
  const layout = {
    paper_bgcolor: paper,
    plot_bgcolor: paper,
    font: { color: ink, family: style.fontFamily, size: SIZE * scale },
    margin: margin(SIZE * scale),
    hoverlabel: { bgcolor: paper, bordercolor: faint, font: { color: ink } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    xaxis: { ...axis, automargin: "bottom" },
    yaxis: { ...axis, automargin: "left" },
    annotationdefaults: { font: { color: ink } },
    shapedefaults: { line: { color: ink } },
  };
  return { layout, data: { bar: [{ error_y: { color: ink } }] } };
}

export default instances(buildFigure);
