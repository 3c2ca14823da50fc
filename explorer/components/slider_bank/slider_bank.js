/* One slider per latent dimension, a filmstrip under each, class buttons for conditional models.
 * Every input event sets the page's shared latent; only a settled value goes to Python. */

const FRAMES = 11; // of a filmstrip
const DIMENSIONS_PER_REQUEST = 20; // 220 rows: below the protocol's 512

function buildSliderBank({ component, root, newView }) {
  const { model, shape, range, classes, shown } = component.data;
  const store = storeOf(component.data.model);
  const d = component.data.z.length;
  const sliders = [];
  const films = [];
  let current = component;
  let visible = Math.min(shown, d);

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
      visible = visible < d ? Math.min(visible + 20, d) : Math.min(shown, d);
      showRows();
      drawFilms();
    },
  });
  for (let i = 0; i < d; i++) bank.append(makeRow(i));
  root.replaceChildren(
    element("div", { class: "classes", role: "group", "aria-label": "Class" }, ...classButtons),
    bank,
    more,
  );

  function makeRow(i) {
    const output = element("output", {});
    const slider = element("input", {
      type: "range",
      min: -range,
      max: range,
      step: 0.01,
      "aria-label": `Latent dimension ${i + 1} of ${d}`,
      "data-testid": `latent-slider-${i}`,
      oninput: () => {
        const z = Float32Array.from(store.z);
        z[i] = slider.valueAsNumber;
        store.set(z);
      },
      onchange: settle,
    });
    const film = imageCanvas(
      shape,
      `Images along dimension ${i + 1}, from ${-range} to ${range}`,
      `filmstrip-${i}`,
      FRAMES,
    );
    film.title = "Click a frame to go there";
    film.addEventListener("click", ({ offsetX }) => {
      const frame = Math.floor((offsetX / film.clientWidth) * FRAMES);
      slider.value = valueOfFrame(frame);
      slider.dispatchEvent(new Event("input"));
      slider.dispatchEvent(new Event("change"));
    });
    sliders.push({ slider, output });
    films.push(film);
    const label = element("span", { class: "name" }, "z", element("sub", { text: i + 1 }));
    return element("div", { class: "row" }, label, slider, output, film);
  }

  const valueOfFrame = (frame) => -range + (2 * range * frame) / (FRAMES - 1);

  function showRows() {
    [...bank.children].forEach((row, i) => {
      row.hidden = i >= visible;
    });
    more.hidden = d <= shown;
    more.textContent = visible < d ? `More dimensions (${visible} of ${d} shown)` : "Fewer";
  }

  function follow() {
    if (store.z.length !== d) return;
    sliders.forEach(({ slider, output }, i) => {
      slider.value = store.z[i];
      output.textContent = store.z[i].toFixed(2);
    });
    const chosen = store.weights ? store.weights.indexOf(1) : -1;
    classButtons.forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
  }

  /* Filmstrips are drawn when the hand has settled, so that they never slow a drag. */
  const filmViews = [];
  function drawFilms() {
    const k = store.weights?.length ?? 0; // the class may be chosen elsewhere on the page
    for (let first = 0, v = 0; first < visible; first += DIMENSIONS_PER_REQUEST, v++) {
      const last = Math.min(first + DIMENSIONS_PER_REQUEST, visible);
      const n = (last - first) * FRAMES;
      const z = repeatRow(store.z, n);
      for (let i = first; i < last; i++) {
        for (let frame = 0; frame < FRAMES; frame++) {
          z[((i - first) * FRAMES + frame) * d + i] = valueOfFrame(frame);
        }
      }
      filmViews[v] ??= newView((answer, request) => paintFilms(answer, request.first));
      filmViews[v].want({ model, z, n, d, weights: k ? repeatRow(store.weights, n) : null, k, first });
    }
  }

  function paintFilms(answer, first) {
    if (answer.kind === Kind.ERROR) return showError(root, answer.message);
    for (let row = 0; row < answer.n; row++) {
      const film = films[first + Math.floor(row / FRAMES)];
      paint(film, answer, row, (row % FRAMES) * answer.width);
      if (row % FRAMES === FRAMES - 1) announce(film);
    }
  }

  const unfollow = store.follow(follow);
  showRows();
  return {
    update(component) {
      current = component;
      const before = store.token;
      store.offer(component.data);
      if (store.untold) settle();
      if (store.token !== before || !films[0].dataset.painted) drawFilms();
    },
    close: unfollow,
  };
}

function oneHot(i, k) {
  const weights = new Float32Array(k);
  weights[i] = 1;
  return weights;
}

export default instances(buildSliderBank);
