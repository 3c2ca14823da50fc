/* The latent plane: real codes coloured by class, a point that follows the pointer, and what was
 * selected. Plotly draws it; pointing, clicking and arrow keys are handled here without a rerun. */

const GRID = 20; // decoded images along the longer side of the plane
const KEY_STEP = 0.1;
const STILL = 5; // CSS pixels: a press that moved further was a pan, not a click
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down",
  "pentagon", "star", "hexagon"];

function loadPlotly(path) {
  window.latentPlotly ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    // The first page brings the script along; links to other pages do not.
    const script = document.getElementById("latent-plotly") ?? element("script", { src: path });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () =>
      reject(new Error("plotly.js could not be loaded: reload the page")),
    );
    return document.head.append(script);
  });
  return window.latentPlotly;
}

function buildMap({ component, root, newView }) {
  const { model, shape, classes, colours } = component.data;
  const store = storeOf(component.data.model);
  let current = component;
  let plot = null;
  let background = null;
  let drawn = null;
  let closed = false;

  const surface = element("div", { class: "surface" });
  const point = element("div", { class: "point", "data-testid": "map-point" });
  const pad = element("div", {
    class: "pad",
    "data-testid": "latent-map",
    tabindex: 0,
    role: "application",
    "aria-label":
      "Map of the latent space. Point to decode, click to select the nearest code, " +
      "arrow keys move the point, Enter selects, digit keys switch classes on and off.",
  }, surface, point);
  root.replaceChildren(pad);
  const unfollow = store.follow(showPoint);

  const gridView = newView((answer) => {
    if (answer.kind === Kind.ERROR) return showError(root, answer.message);
    background = mosaic(answer);
    relayout();
  });

  pad.addEventListener("pointermove", (event) => {
    const z = at(event);
    if (z) store.set(z);
  });
  let pressed = null;
  pad.addEventListener("pointerdown", (event) => {
    pressed = event;
  }, true);
  pad.addEventListener("click", (event) => {
    const moved = pressed
      ? Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY)
      : 0;
    const z = moved < STILL ? at(event) : null;
    if (z) select(z);
  });
  pad.addEventListener("keydown", (event) => {
    if (!store.z || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = KEYS[event.key];
    if (move) {
      event.preventDefault();
      const step = event.shiftKey ? 5 * KEY_STEP : KEY_STEP;
      store.set(Float32Array.of(store.z[0] + step * move[0], store.z[1] + step * move[1]));
      settle();
    } else if (event.key === "Enter") {
      select(store.z);
    } else if (/^[0-9]$/.test(event.key) && Number(event.key) < classes.length) {
      toggle(Number(event.key));
    }
  });

  /* Latent coordinates under the pointer, or null outside the axes. */
  function at({ clientX, clientY, target }) {
    if (!plot || target.closest?.(".legend, .modebar")) return null;
    const { xaxis, yaxis } = surface._fullLayout;
    const box = surface.getBoundingClientRect();
    const x = clientX - box.left - xaxis._offset;
    const y = clientY - box.top - yaxis._offset;
    if (x < 0 || y < 0 || x > xaxis._length || y > yaxis._length) return null;
    return Float32Array.of(xaxis.p2d(x), yaxis.p2d(y));
  }

  function select(z) {
    store.set(z);
    current.setStateValue("settled", { z: Array.from(z), selected: nearestShown(z) });
  }

  let pending = null;
  function settle() {
    store.untold = false;
    clearTimeout(pending);
    pending = setTimeout(() => {
      current.setStateValue("settled", {
        z: Array.from(store.z),
        selected: null,
        at: Date.now(), // told again to a restarted server, it must not look like old news
      });
    }, 300);
  }

  /* Index of the code nearest to z on screen, among the classes that are switched on. */
  function nearestShown(z) {
    const { points, labels } = drawn;
    const { xaxis, yaxis } = surface._fullLayout;
    const scale = [xaxis._length / (xaxis.range[1] - xaxis.range[0]),
      yaxis._length / (yaxis.range[1] - yaxis.range[0])];
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < labels.length; i++) {
      if (hidden.has(labels[i])) continue;
      const dx = (points[2 * i] - z[0]) * scale[0];
      const dy = (points[2 * i + 1] - z[1]) * scale[1];
      if (dx * dx + dy * dy < least) {
        least = dx * dx + dy * dy;
        best = i;
      }
    }
    return best;
  }

  /* Classes that are switched off, by the legend or by a digit key. */
  const hidden = new Set();
  function toggle(c) {
    if (!hidden.delete(c)) hidden.add(c);
    showClasses();
  }
  function isolate(c) {
    const alone = hidden.size === classes.length - 1 && !hidden.has(c);
    hidden.clear();
    if (!alone) classes.forEach((_, other) => other !== c && hidden.add(other));
    showClasses();
  }
  function showClasses() {
    window.Plotly.restyle(surface, { visible: classes.map((_, c) => shownOrNot(c)) });
  }
  const shownOrNot = (c) => (hidden.has(c) ? "legendonly" : true);

  function traces() {
    const { points, labels } = drawn;
    const type = hasWebGL() ? "scattergl" : "scatter";
    const made = classes.map((name, c) => ({
      type,
      mode: "markers",
      name,
      visible: shownOrNot(c),
      x: [],
      y: [],
      hoverinfo: "skip",
      marker: { color: colours[c % colours.length], size: 4, opacity: 0.75,
        symbol: SYMBOLS[c % SYMBOLS.length] },
    }));
    for (let i = 0; i < labels.length; i++) {
      made[labels[i]].x.push(points[2 * i]);
      made[labels[i]].y.push(points[2 * i + 1]);
    }
    return made;
  }

  function layout() {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--st-text-color");
    const faint = style.getPropertyValue("--st-border-color");
    const axis = { zeroline: true, gridcolor: faint, zerolinecolor: faint, color: ink };
    return {
      height: 560,
      margin: { l: 45, r: 10, t: 10, b: 45 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: style.fontFamily, size: 14 },
      hovermode: false,
      dragmode: "pan",
      uirevision: model, // the zoom survives a rerun
      legend: { itemsizing: "constant", title: { text: "class" } },
      xaxis: { ...axis, title: { text: "z₁" } },
      yaxis: { ...axis, title: { text: "z₂" }, scaleanchor: "x" },
      ...overlays(),
    };
  }

  /* What lies over and under the codes: posterior, selected code, neighbours, decoded plane. */
  function overlays() {
    const { ellipse, selected, neighbours, grid } = current.data;
    const ink = getComputedStyle(root).getPropertyValue("--st-text-color");
    const ellipses = ellipse.map(([x, y, rx, ry]) => ({
      type: "circle",
      x0: x - rx, x1: x + rx, y0: y - ry, y1: y + ry,
      line: { color: ink, width: 2 },
    }));
    const ring = (i, radius, width) => ({
      type: "circle",
      xsizemode: "pixel", ysizemode: "pixel",
      xanchor: drawn.points[2 * i], yanchor: drawn.points[2 * i + 1],
      x0: -radius, x1: radius, y0: -radius, y1: radius,
      line: { color: ink, width },
    });
    const rings = neighbours.map((i) => ring(i, 5, 1.5));
    if (selected >= 0) rings.push(ring(selected, 9, 3));
    const { left, top, cell, columns, rows } = tiles();
    const images = grid && background
      ? [{ source: background, xref: "x", yref: "y", x: left, y: top, sizex: columns * cell,
        sizey: rows * cell, sizing: "stretch", layer: "below", opacity: 0.85 }]
      : [];
    return { shapes: [...ellipses, ...rings], images };
  }

  /* The point that is decoded, where the pointer does not show it: after keys, or from a link. */
  function showPoint() {
    const axes = plot && surface._fullLayout;
    point.hidden = !axes || store.z?.length !== 2;
    if (point.hidden) return;
    const { xaxis, yaxis } = axes;
    const x = xaxis.d2p(store.z[0]);
    const y = yaxis.d2p(store.z[1]);
    point.hidden = x < 0 || y < 0 || x > xaxis._length || y > yaxis._length;
    point.style.transform = `translate(${xaxis._offset + x}px, ${yaxis._offset + y}px)`;
  }

  function relayout() {
    if (plot && !closed) window.Plotly.relayout(surface, overlays());
  }

  /* The plane in square tiles that cover every code, row by row from the top left. */
  function tiles() {
    const [left, right, bottom, top] = current.data.bounds;
    const cell = Math.max(right - left, top - bottom) / GRID;
    const columns = Math.ceil((right - left) / cell);
    const rows = Math.ceil((top - bottom) / cell);
    return { left, top, cell, columns, rows };
  }

  /* Each tile shows the image of its own centre. */
  function askForGrid() {
    const { left, top, cell, columns, rows } = tiles();
    const z = new Float32Array(columns * rows * 2);
    for (let i = 0; i < columns * rows; i++) {
      z[2 * i] = left + cell * ((i % columns) + 0.5);
      z[2 * i + 1] = top - cell * (Math.floor(i / columns) + 0.5);
    }
    gridView.want({ model, z, n: columns * rows, d: 2, weights: null, k: 0 });
  }

  function mosaic(answer) {
    const { columns, rows } = tiles();
    const { width, height } = answer;
    const canvas = element("canvas", { width: columns * width, height: rows * height });
    const tile = element("canvas", { width, height });
    for (let i = 0; i < answer.n; i++) {
      paint(tile, answer, i);
      const x = (i % columns) * width;
      canvas.getContext("2d").drawImage(tile, x, Math.floor(i / columns) * height);
    }
    return canvas.toDataURL();
  }

  async function draw() {
    const Plotly = await loadPlotly(current.data.plotly);
    if (closed) return;
    const { points, labels } = current.data;
    if (drawn?.encoded !== points) {
      drawn = { encoded: points, points: floats(points), labels: new Uint8Array(fromBase64(labels)) };
    }
    const config = { responsive: true, displaylogo: false, scrollZoom: true,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    const first = !plot;
    plot = await Plotly.react(surface, traces(), layout(), config);
    if (closed) return Plotly.purge(surface);
    if (first) {
      // false: Plotly leaves the switching to us, so that keys and legend agree
      plot.on("plotly_afterplot", showPoint); // zoomed, panned or resized
      plot.on("plotly_legendclick", ({ curveNumber }) => (toggle(curveNumber), false));
      plot.on("plotly_legenddoubleclick", ({ curveNumber }) => (isolate(curveNumber), false));
    }
    pad.dataset.ready = "true";
    return undefined;
  }

  let theme = null;
  return {
    update(component) {
      current = component;
      const { data } = component;
      store.offer(data);
      if (store.untold) settle();
      if (data.grid && !background) askForGrid();
      const ink = getComputedStyle(root).color;
      if (drawn?.encoded === data.points && theme === ink) return relayout();
      theme = ink;
      return draw().catch((error) => showError(root, error.message));
    },
    close() {
      closed = true;
      unfollow();
      clearTimeout(pending);
      if (plot) window.Plotly.purge(surface);
    },
  };
}

function hasWebGL() {
  window.latentWebGL ??= Boolean(document.createElement("canvas").getContext("webgl"));
  return window.latentWebGL; // a context takes long to make, and a page may have but a few
}

export default instances(buildMap);
