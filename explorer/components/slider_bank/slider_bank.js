/* Sliders that move the page's latent along lines, a filmstrip under each, class buttons for
 * conditional models. Every input event sets the shared latent; only a settled value goes to
 * Python. What a row is, is explained in __init__.py. */

const ROWS_PER_REQUEST = 20; // of 11 frames: below the protocol's 512
const STEP = 0.01;

function buildSliderBank({ component, root, newView }) {
  const { model, shape, classes, shown, frames } = component.data;
  const store = storeOf(component.data.model);
  const d = component.data.z.length;
  let current = component;
  let rows = [];
  let drawn = null; // the rows as Python told them
  let lines = []; // the elements of each row
  let visible = 0;

  /* Along vectors that have no place of their own, sliders count from a base, so that several add
   * up and going back to 0 brings back the very same image. A latent set elsewhere, by a link too, is
   * a new base: of z alone nobody can say which base and how many times which vector it is. */
  let base = null;
  let own = null; // the latent that these sliders set
  let counts = [];

  const settle = () => {
    store.untold = false;
    current.setStateValue("settled", {
      z: Array.from(store.z),
      weights: store.weights && Array.from(store.weights),
      at: Date.now(), // told again to a restarted server, it must not look like old news
    });
    drawFilms();
  };

  const classButtons = classes.map((name, i) =>
    element("button", {
      text: name,
      "data-testid": `class-${i}`,
      "aria-label": `Class ${name}`,
      onclick: () => {
        store.set(store.z, oneHot(i, classes.length));
        settle();
      },
    }),
  );
  const bank = element("div", { class: "bank" });
  const more = element("button", {
    "data-testid": "more-sliders",
    onclick: () => {
      visible = visible < rows.length ? Math.min(visible + 20, rows.length) : firstShown();
      showRows();
      drawFilms();
    },
  });
  root.replaceChildren(
    element("div", { class: "classes", role: "group", "aria-label": "Class" }, ...classButtons),
    bank,
    more,
  );

  const firstShown = () => Math.min(shown, rows.length);

  function makeRows(told) {
    rows = told;
    visible = firstShown();
    base = null;
    lines = rows.map(makeRow);
    bank.replaceChildren(...lines.map(({ line }) => line));
    showRows();
    if (store.z) follow();
  }

  function makeRow(row, i) {
    const [low, high] = row.reach;
    const output = element("output", {});
    const slider = element("input", {
      type: "range",
      min: low,
      max: high,
      step: STEP,
      "aria-label": row.note ? `${row.label}, ${row.note}` : row.label,
      "data-testid": `latent-slider-${row.id}`,
      oninput: () => move(i, slider.valueAsNumber),
      onchange: settle,
    });
    const film = imageCanvas(
      shape,
      `Images along ${row.label}, from ${low} to ${high}`,
      `filmstrip-${row.id}`,
      frames,
    );
    film.title = "Click a frame to go there";
    film.addEventListener("click", ({ offsetX }) => {
      const frame = Math.floor((offsetX / film.clientWidth) * frames);
      slider.value = valueOfFrame(row, frame);
      slider.dispatchEvent(new Event("input"));
      slider.dispatchEvent(new Event("change"));
    });
    const note = element("span", { class: "note" }, ...bar(row), row.note);
    const head = element("div", { class: "head" },
      element("span", { class: "name", text: row.name }), note);
    const line = element("div", { class: row.dead ? "row dead" : "row" }, head, slider, output, film);
    return { line, slider, output, film };
  }

  function bar({ share }) {
    if (share === null) return [];
    const full = element("span", {});
    full.style.width = `${100 * share}%`;
    return [element("span", { class: "bar", "aria-hidden": "true" }, full)];
  }

  const valueOfFrame = ({ reach: [low, high] }, frame) =>
    low + ((high - low) * frame) / (frames - 1);

  const along = ({ vector }, z) => vector.reduce((sum, v, c) => sum + v * z[c], 0);

  function valueOf(i) {
    const { axis, centre } = rows[i];
    if (axis !== null) return store.z[axis];
    return centre === null ? counts[i] : along(rows[i], store.z) - centre;
  }

  /* The latent with slider i at a value. */
  function latentAt(i, value) {
    const { axis, centre, vector } = rows[i];
    if (axis !== null) {
      const z = Float32Array.from(store.z);
      z[axis] = value;
      return z;
    }
    if (centre === null) {
      const steps = counts.map((count, j) => (j === i ? value : count));
      return Float32Array.from(base, (b, c) =>
        rows.reduce((sum, row, j) => sum + steps[j] * row.vector[c], b));
    }
    const step = value - valueOf(i);
    return Float32Array.from(store.z, (old, c) => old + step * vector[c]);
  }

  function move(i, value) {
    own = latentAt(i, value);
    counts[i] = value;
    store.set(own);
  }

  function showRows() {
    lines.forEach(({ line }, i) => {
      line.hidden = i >= visible;
    });
    more.hidden = rows.length <= shown;
    more.textContent =
      visible < rows.length ? `More (${visible} of ${rows.length} shown)` : "Fewer";
  }

  function follow() {
    if (store.z.length !== d) return;
    if (!base || store.z !== own) {
      base = own = store.z;
      counts = rows.map(() => 0);
    }
    lines.forEach(({ slider, output }, i) => {
      const value = valueOf(i);
      slider.value = value;
      output.textContent = value.toFixed(2);
    });
    const chosen = store.weights ? store.weights.indexOf(1) : -1;
    classButtons.forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
  }

  /* Filmstrips are drawn when the hand has settled, so that they never slow a drag. */
  const filmViews = [];
  function drawFilms() {
    const k = store.weights?.length ?? 0; // the class may be chosen elsewhere on the page
    for (let first = 0, v = 0; first < visible; first += ROWS_PER_REQUEST, v++) {
      const last = Math.min(first + ROWS_PER_REQUEST, visible);
      const n = (last - first) * frames;
      const z = new Float32Array(n * d);
      for (let i = 0; i < n; i++) {
        const row = first + Math.floor(i / frames);
        z.set(latentAt(row, valueOfFrame(rows[row], i % frames)), i * d);
      }
      filmViews[v] ??= newView(paintFilms);
      const weights = k ? repeatRow(store.weights, n) : null;
      filmViews[v].want({ model, z, n, d, weights, k, first, lines });
    }
  }

  function paintFilms(answer, request) {
    if (request.lines !== lines) return; // of sliders that are gone
    for (let i = 0; i < answer.n; i++) {
      const { film } = lines[request.first + Math.floor(i / frames)];
      paint(film, answer, i, (i % frames) * answer.width);
      if (i % frames === frames - 1) announce(film);
    }
  }

  const unfollow = store.follow(() => rows.length && follow());
  return {
    update(component) {
      current = component;
      const { data } = component;
      const before = store.token;
      store.offer(data);
      if (store.untold) settle();
      const told = JSON.stringify(data.rows);
      if (told !== drawn) makeRows(data.rows);
      if (told !== drawn || store.token !== before) drawFilms();
      drawn = told;
    },
    close: unfollow,
  };
}

export default instances(buildSliderBank);
