/* Codes in a plane, coloured by class, a point that follows the pointer, and what was selected.
 * Plotly draws it; pointing, clicking and arrow keys are handled here without a rerun. What a place
 * of the plane decodes is explained in explorer/layout.py. */

const KEY_STEP = 0.1; // of a latent
const KEY_SHARE = 1 / 60; // of the longer side, where the plane has units of its own
const NEAREST = 8; // codes that a place of a UMAP plane is the mean of, and the other way round
const REST_MS = 150; // that a scrubber stands still before the plane is decoded as of its stop
const SAME = 1e-5; // of a latent, squared: more than the rounding of a link
const FARTHEST = 100; // of a latent from 0 that a link can tell
const HALO = 5; // CSS pixels from a mark of a group to the line around it
const STILL = 5; // CSS pixels: a press that moved further was a pan, not a click
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const CORNERS = 48; // of an ellipse
const BELOW = { orientation: "h", y: -0.22 }; // words beside the plane would leave it half the width
const WHOLE = { x: 0, y: 0, width: "100%", height: "100%" };
const CIRCLE = `a${HALO},${HALO} 0 1 0 ${2 * HALO},0a${HALO},${HALO} 0 1 0 ${-2 * HALO},0`;
const SQUARE = `v${-HALO}h${2 * HALO}v${2 * HALO}h${-2 * HALO}z`;
const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "triangle-down",
  "pentagon", "star", "hexagon"];

function buildMap({ component, root, newView, tell }) {
  const { model, shape, classes, colours, pointing } = component.data;
  const store = storeOf(component.data.model);
  let current = component;
  let plot = null;
  let background = null;
  let drawn = null;
  let place = null; // in the plane, the code that it stood for, and whether it was pointed at
  let closed = false;
  // Where maps of several models show the same real images: the one pointed at, on every map.
  const image = component.data.linked ? signalOf("image") : null;
  const group = component.data.linked ? signalOf("group") : null;

  const surface = element("div", { class: "surface" });
  const point = element("div", { class: "point", "data-testid": "map-point" });
  const ellipses = [1, 2].map(() => drawing("path"));
  const posterior = drawing("g", { class: "posterior", "data-testid": "map-posterior" });
  posterior.append(...ellipses);
  const marks = drawing("g", { class: "marks", "data-testid": "map-marks" });
  // Not shapes of Plotly's: beside a shape whose size is in pixels, its lassos hold nothing.
  const overlay = drawing("svg", { class: "overlay" });
  const halos = drawing("g", { class: "halos" });
  overlay.append(halos, marks, posterior);
  const pad = element("div", {
    class: "pad",
    "data-testid": "latent-map",
    tabindex: 0,
    role: "application",
    "aria-label":
      `Map of the latent space. ${pointing ? "Point to decode, click" : "Click"} to select the ` +
      "nearest code, arrow keys move the point, Enter selects, digit keys switch classes on and off.",
  }, surface, overlay, point);
  root.replaceChildren(pad);
  const epoch = component.data.stops.length ? signalOf(`epoch ${model}`) : null;
  let resting = null;
  const unfollow = [
    (image ?? store).follow(showPoint),
    group?.follow(showGroup),
    epoch?.follow(() => {
      requestAnimationFrame(movePoints);
      clearTimeout(resting);
      resting = setTimeout(freshenGrid, REST_MS);
    }),
  ];

  const gridView = newView((answer, request) => {
    background = { model: request.model, source: mosaic(answer) };
    relayout();
  });

  // One finger points, as the mouse does; Plotly gets what two do, and what draws a lasso.
  let touching = 0;
  const fingers = ({ pointerType }, count) => pointerType !== "mouse" && touching === count;
  pad.addEventListener("touchstart", (event) => {
    touching = event.touches.length;
    const panning = plot && surface._fullLayout.dragmode === "pan";
    if (touching === 1 && panning && at(event.touches[0])) event.stopPropagation();
  }, true);
  pad.addEventListener("pointermove", (event) => {
    const where = pointing && !fingers(event, 2) && at(event);
    if (where) go(where);
  });
  let pressed = null;
  pad.addEventListener("pointerdown", (event) => {
    pressed = event;
  }, true);
  const moved = ({ clientX, clientY }) =>
    (pressed ? Math.hypot(clientX - pressed.clientX, clientY - pressed.clientY) : 0) >= STILL;
  pad.addEventListener("pointerup", (event) => {
    if (pointing && fingers(event, 1) && moved(event)) settle(); // where the finger was lifted
  });
  pad.addEventListener("click", (event) => {
    const where = moved(event) ? null : at(event);
    if (where) select(where);
  });
  pad.addEventListener("keydown", (event) => {
    const from = here();
    if (!from || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = KEYS[event.key];
    if (move) {
      event.preventDefault();
      const [left, right, bottom, top] = current.data.bounds;
      const share = KEY_SHARE * Math.max(right - left, top - bottom);
      const step = (current.data.how === "plane" ? KEY_STEP : share) * (event.shiftKey ? 5 : 1);
      go([from[0] + step * move[0], from[1] + step * move[1]]);
      settle();
    } else if (event.key === "Enter") {
      select(from);
    } else if (/^[0-9]$/.test(event.key) && Number(event.key) < classes.length) {
      toggle(Number(event.key));
    }
  });

  /* Coordinates of the plane under the pointer, or null outside the axes. */
  function at({ clientX, clientY, target }) {
    if (!plot || target.closest?.(".legend, .modebar")) return null;
    const { xaxis, yaxis } = surface._fullLayout;
    const box = surface.getBoundingClientRect();
    const x = clientX - box.left - xaxis._offset;
    const y = clientY - box.top - yaxis._offset;
    if (x < 0 || y < 0 || x > xaxis._length || y > yaxis._length) return null;
    return [xaxis.p2d(x), yaxis.p2d(y)];
  }

  /* Decode what a place of the plane stands for. */
  function go(where) {
    if (image) {
      place = { where, image: nearestShown(where) };
      if (place.image >= 0) image.set(place.image);
      return;
    }
    const { z: code, weights } = codeAt(where);
    const z = code.map((value) => Math.min(Math.max(value, -FARTHEST), FARTHEST));
    place = { where, z, own: true };
    store.set(z, weights ?? store.weights);
  }

  /* The place of the page's latent: the one pointed at, or where a latent from elsewhere lies. */
  function here() {
    if (image) return drawn && image.value !== null ? hereAmong(image.value) : null;
    if (!drawn || store.z?.length !== drawn.d) return null;
    if (place?.z !== store.z) place = { where: placeOf(store.z), z: store.z };
    return place.where;
  }

  /* Where keys go on from: the place they reached, as long as its image is the one pointed at. */
  function hereAmong(i) {
    return place?.image === i ? place.where : Array.from(drawn.points.subarray(2 * i, 2 * i + 2));
  }

  /* Whether a map of samples shows none that the page's latent could stand on: of what lies between
   * them in the latent space, the plane knows nothing. */
  function amongNone() {
    if (current.data.how !== "sample" || image || place?.own) return false;
    return nearest(drawn.codes, store.z, 1)[0].distance > SAME * drawn.d;
  }

  function codeAt([x, y]) {
    const { codes, d, points, asked } = drawn;
    const { how, origin, basis } = current.data;
    if (how === "plane") {
      const [across, up] = basis;
      return { z: Float32Array.from(origin, (o, i) => o + x * across[i] + y * up[i]) };
    }
    const near = nearest(points, [x, y], counted());
    const weights = asked && oneHot(asked[near[0].i], store.weights.length);
    return { z: meanOf(codes, d, near), weights };
  }

  /* A projection where the plane has directions of its own, else the place of the nearest codes. */
  function placeOf(z) {
    const { how, origin, basis } = current.data;
    if (how === "plane") {
      return basis.map((direction) => direction.reduce((sum, b, c) => sum + b * (z[c] - origin[c]), 0));
    }
    return Array.from(meanOf(drawn.points, 2, nearest(drawn.codes, z, counted())));
  }

  const counted = () => (current.data.how === "mean" ? NEAREST : 1);

  function select(where) {
    go(where);
    current.setStateValue("settled", { ...value(), selected: nearestShown(where) });
  }

  /* The marks inside a lasso or a box, of the classes that are switched on. */
  function lassoed(points) {
    const marks = points.map(({ curveNumber, pointIndex }) => drawn.members[curveNumber][pointIndex]);
    if (group) {
      lasso = marks;
      return setTimeout(() => group.set(marks)); // Plotly cannot draw elsewhere before it is done
    }
    current.setStateValue("settled", { ...value(), selected: null, marks });
  }

  /* The marks that a lasso holds on another of the linked maps; all, where it holds none. */
  let lasso = null;
  function showGroup(marks) {
    if (!plot || closed || marks === lasso) return; // Plotly shows what its own lasso holds
    const held = new Set(marks);
    const selectedpoints = drawn.members.map((members) =>
      (held.size ? members.flatMap((i, at) => (held.has(i) ? [at] : [])) : null));
    window.Plotly.restyle(surface, { selectedpoints });
  }

  const value = () => ({
    z: Array.from(store.z),
    weights: store.weights && Array.from(store.weights),
  });

  let pending = null;
  function settle() {
    store.untold = false;
    clearTimeout(pending);
    pending = setTimeout(() => {
      current.setStateValue("settled", {
        ...value(),
        selected: image && image.value,
        at: Date.now(), // told again to a restarted server, it must not look like old news
      });
    }, 300);
  }

  /* Index of the code nearest on screen, among the classes that are switched on. */
  function nearestShown([x, y]) {
    const { points, labels } = drawn;
    const { xaxis, yaxis } = surface._fullLayout;
    const scale = [xaxis._length / (xaxis.range[1] - xaxis.range[0]),
      yaxis._length / (yaxis.range[1] - yaxis.range[0])];
    let best = -1;
    let least = Infinity;
    for (let i = 0; i < labels.length; i++) {
      if (hidden.has(labels[i])) continue;
      const dx = (points[2 * i] - x) * scale[0];
      const dy = (points[2 * i + 1] - y) * scale[1];
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
      name: element("span", { text: name }).innerHTML, // Plotly reads it as HTML
      visible: shownOrNot(c),
      x: [],
      y: [],
      hoverinfo: "skip",
      marker: { color: colours[c % colours.length], size: 4, opacity: 0.75,
        symbol: SYMBOLS[c % SYMBOLS.length] },
    }));
    drawn.members = classes.map(() => []);
    for (let i = 0; i < labels.length; i++) {
      made[labels[i]].x.push(points[2 * i]);
      made[labels[i]].y.push(points[2 * i + 1]);
      drawn.members[labels[i]].push(i);
    }
    return made;
  }

  /* All points to where they lay at the stop that the page's scrubber stands on. */
  function movePoints() {
    const next = drawn?.stops[epoch.value];
    if (!plot || closed || !next || next === drawn.points) return;
    drawn.points = next;
    const moved = traces();
    window.Plotly.restyle(surface, { x: moved.map(({ x }) => x), y: moved.map(({ y }) => y) });
  }

  function layout() {
    const { bounds, stops, linked, axes } = current.data;
    const range = (low, high) => (stops.length ? { range: [low, high] } : {});
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--st-text-color");
    const faint = style.getPropertyValue("--st-border-color");
    const small = root.clientWidth < 500;
    const narrow = small && classes.some((name) => name.length > 3);
    const axis = { zeroline: true, gridcolor: faint, zerolinecolor: faint, color: ink };
    const [across, up] = linked ? axes.map((name) => name.replace(": ", ":<br>")) : axes;
    return {
      height: linked || small ? 440 : 560, // on a phone the picture is in view above it
      // at the top there is room for the buttons, which would cover the legend's first line
      margin: linked ? { l: 55, r: 5, t: 35, b: 110 } : { l: 45, r: 10, t: 35, b: 45 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: style.fontFamily, size: linked ? 12 : 14 },
      modebar: {
        bgcolor: "rgba(0,0,0,0)", // its own would be the paper's, which is black but for alpha
        color: ink,
        activecolor: style.getPropertyValue("--st-primary-color"),
      },
      hovermode: false,
      dragmode: "pan",
      uirevision: `${model} ${axes}`, // the zoom survives a rerun
      legend: {
        itemsizing: "constant",
        ...(linked ? {} : { title: { text: "class" } }),
        ...(linked || narrow ? { ...BELOW, y: linked ? -0.3 : BELOW.y } : {}),
      },
      xaxis: { ...axis, ...range(bounds[0], bounds[1]), title: { text: across } },
      yaxis: { ...axis, ...range(bounds[2], bounds[3]), title: { text: up }, scaleanchor: "x" },
      ...underlay(),
    };
  }

  /* The decoded plane, which lies under the codes. */
  function underlay() {
    if (!current.data.grid || !background) return { images: [] };
    const { left, top, cell, columns, rows } = tiles();
    const size = { sizex: columns * cell, sizey: rows * cell, sizing: "stretch" };
    const place = { xref: "x", yref: "y", x: left, y: top, layer: "below", opacity: 0.85 };
    return { images: [{ source: background.source, ...size, ...place }] };
  }

  /* What lies over the codes, wherever zooming and panning have put them. */
  function showOverlay() {
    if (!plot || closed) return;
    const { xaxis, yaxis } = surface._fullLayout;
    overlay.style.transform = `translate(${xaxis._offset}px, ${yaxis._offset}px)`;
    overlay.setAttribute("width", xaxis._length);
    overlay.setAttribute("height", yaxis._length);
    showMarks();
    showPoint();
  }

  /* What is selected: its posterior, its neighbours and itself. */
  function showMarks() {
    const { outlines, selected, neighbours } = current.data;
    const ring = (i, kind, radius) => {
      const [cx, cy] = onScreen(markOf(i));
      return drawing("circle", { cx, cy, r: radius, class: kind });
    };
    const rings = neighbours.map((i) => ring(i, "neighbour", 5));
    if (selected >= 0) rings.push(ring(selected, "selected", 9));
    marks.replaceChildren(...outlines.map((one) => drawing("path", { d: outline(one) })), ...rings);
    halos.replaceChildren(...Object.entries(current.data.groups).map(halo));
  }

  /* A line around the marks of a group, by circles or squares that have grown together, and the
   * group's name above them. What lies inside is masked: lines there would hide the marks. */
  function halo([name, members], i) {
    const made = drawing("g", { class: `halo of-${i}`, "data-testid": `map-group-${name}` });
    const places = members.filter((one) => !hidden.has(drawn.labels[one])).map(markOf).map(onScreen);
    if (!places.length) return made;
    const d = places.map(([x, y]) => `M${x - HALO},${y}${i ? SQUARE : CIRCLE}`).join("");
    const mask = drawing("mask", { id: `halo-${i}`, maskUnits: "userSpaceOnUse", ...WHOLE });
    mask.append(drawing("rect", { ...WHOLE, fill: "#fff", stroke: "none" }),
      drawing("path", { d, fill: "#000", stroke: "none" }));
    const [x, y] = places.reduce((top, one) => (one[1] < top[1] ? one : top));
    const text = drawing("text", { x, y: Math.max(y - 2 * HALO, 4 * HALO) });
    text.textContent = name;
    made.append(drawing("path", { d, mask: `url(#halo-${i})` }), mask, text);
    return made;
  }

  const markOf = (i) => Array.from(drawn.points.subarray(2 * i, 2 * i + 2));

  /* CSS pixels from the axes' upper left corner. */
  function onScreen([x, y]) {
    const { xaxis, yaxis } = surface._fullLayout;
    return [xaxis.d2p(x), yaxis.d2p(y)];
  }

  const outline = (corners) => `M${corners.map((one) => onScreen(one).join(",")).join("L")}Z`;

  /* The point that is decoded, where the pointer does not show it: after keys, or from a link. */
  function showPoint() {
    const axes = plot && surface._fullLayout;
    const where = axes && (image ? image.value !== null && markOf(image.value) : here());
    showPosterior(where);
    point.hidden = !where || amongNone();
    if (point.hidden) return;
    const { xaxis, yaxis } = axes;
    const [x, y] = onScreen(where);
    point.hidden = x < 0 || y < 0 || x > xaxis._length || y > yaxis._length;
    point.style.transform = `translate(${xaxis._offset + x}px, ${yaxis._offset + y}px)`;
  }

  /* One and two standard deviations of the posterior whose mean the latent is, cast on the plane
   * as explorer/latent.py does: any square root of the covariance gives the same outline. */
  function showPosterior(where) {
    const { how, basis } = current.data;
    const { spread } = store;
    const shown = Boolean(where && spread && how === "plane");
    pad.classList.toggle("unsure", shown);
    if (!shown) return;
    const covariance = (p, q) =>
      spread.reduce((sum, s, c) => sum + s * s * basis[p][c] * basis[q][c], 0);
    const across = Math.sqrt(covariance(0, 0));
    const lean = across && covariance(0, 1) / across;
    const up = Math.sqrt(Math.max(covariance(1, 1) - lean * lean, 0));
    ellipses.forEach((path, i) => {
      const corners = Array.from({ length: CORNERS }, (_, corner) => {
        const angle = (2 * Math.PI * corner) / CORNERS;
        const [x, y] = [(i + 1) * Math.cos(angle), (i + 1) * Math.sin(angle)];
        return [where[0] + across * x, where[1] + lean * x + up * y];
      });
      path.setAttribute("d", outline(corners));
    });
  }

  function relayout() {
    if (!plot || closed) return;
    showMarks();
    window.Plotly.relayout(surface, underlay());
  }

  /* The plane in square tiles that cover every code, row by row from the top left. */
  function tiles() {
    const [left, right, bottom, top] = current.data.bounds;
    const cell = Math.max(right - left, top - bottom) / current.data.tiles; // along the longer side
    const columns = Math.ceil((right - left) / cell);
    const rows = Math.ceil((top - bottom) / cell);
    return { left, top, cell, columns, rows };
  }

  /* Whose plane lies underneath: the model's, or its weights at the stop that a scrubber stands on. */
  const decoder = () => current.data.models[epoch?.value] ?? model;

  function freshenGrid() {
    if (closed || !drawn || !current.data.grid || background?.model === decoder()) return;
    askForGrid();
  }

  /* Each tile shows the image of its own centre. */
  function askForGrid() {
    const { left, top, cell, columns, rows } = tiles();
    const { d } = drawn;
    const n = columns * rows;
    const k = store.weights?.length ?? 0;
    const z = new Float32Array(n * d);
    const weights = k ? repeatRow(store.weights, n) : null;
    for (let i = 0; i < n; i++) {
      const where = [left + cell * ((i % columns) + 0.5), top - cell * (Math.floor(i / columns) + 0.5)];
      const code = codeAt(where);
      z.set(code.z, i * d);
      if (code.weights) weights.set(code.weights, i * k);
    }
    gridView.want({ model: decoder(), z, n, d, weights, k });
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

  const draw = () => loadPlotly(current.data.plotly).then(drawWith);

  const drawWith = inTurn(async (Plotly) => {
    if (closed) return;
    const { points, labels, codes, asked, z, stops } = current.data;
    if (drawn?.encoded !== points) {
      drawn = {
        encoded: points,
        points: floats(points),
        labels: new Uint8Array(fromBase64(labels)),
        codes: codes && floats(codes),
        asked: asked && new Uint8Array(fromBase64(asked)),
        d: z.length,
        stops: stops.map(floats),
      };
      place = null;
      background = null;
    }
    const narrow = current.data.linked ? ["toImage", "zoom2d", "zoomIn2d", "zoomOut2d"] : [];
    // Plotly's "Share chart..." would send the codes to its cloud: nothing leaves this computer.
    const config = { responsive: true, displaylogo: false, scrollZoom: true, showSendToCloud: false,
      modeBarButtonsToRemove: ["autoScale2d", ...narrow] };
    const first = !plot;
    plot = await Plotly.react(surface, traces(), layout(), config);
    if (closed) return Plotly.purge(surface);
    if (first) {
      // false: Plotly leaves the switching to us, so that keys and legend agree
      plot.on("plotly_afterplot", showOverlay); // zoomed, panned or resized
      plot.on("plotly_selected", (event) => event && lassoed(event.points));
      plot.on("plotly_deselect", () => lassoed([]));
      plot.on("plotly_legendclick", ({ curveNumber }) => (toggle(curveNumber), false));
      plot.on("plotly_legenddoubleclick", ({ curveNumber }) => (isolate(curveNumber), false));
    }
    if (epoch) movePoints();
    showOverlay(); // the first plot was made before anybody listened
    pad.dataset.ready = "true";
    return undefined;
  });

  let theme = null;
  let told = null; // the selected point as Python told it last
  return {
    update(component) {
      current = component;
      const { data } = component;
      store.offer(data);
      if (store.untold) settle();
      if (image && data.selected >= 0 && data.selected !== told) image.set(data.selected);
      told = data.selected;
      const ink = getComputedStyle(root).color;
      const same = drawn?.encoded === data.points && theme === ink;
      theme = ink;
      const done = same ? Promise.resolve(relayout()) : draw();
      return done
        .then(freshenGrid)
        .then(() => tell(""), (error) => tell(error.message));
    },
    close() {
      closed = true;
      unfollow.forEach((stop) => stop?.());
      clearTimeout(pending);
      clearTimeout(resting);
      if (plot) window.Plotly.purge(surface);
    },
  };
}

/* The k of many rows of numbers that are nearest to one, nearest first, with their squared
 * distances. */
function nearest(rows, to, k) {
  const d = to.length;
  const found = [];
  for (let i = 0; i < rows.length / d; i++) {
    const most = found.length === k ? found[k - 1].distance : Infinity;
    let distance = 0;
    for (let c = 0; c < d && distance < most; c++) distance += (rows[i * d + c] - to[c]) ** 2;
    if (distance >= most) continue;
    found.push({ i, distance: Math.max(distance, 1e-12) });
    found.sort((a, b) => a.distance - b.distance);
    found.length = Math.min(found.length, k);
  }
  return found;
}

/* The mean of rows of d numbers, weighed by one over their squared distance. */
function meanOf(rows, d, near) {
  const total = near.reduce((sum, { distance }) => sum + 1 / distance, 0);
  const mean = new Float32Array(d);
  for (const { i, distance } of near) {
    for (let c = 0; c < d; c++) mean[c] += rows[i * d + c] / distance / total;
  }
  return mean;
}

/* An element of an SVG drawing. */
function drawing(tag, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export default instances(buildMap);
