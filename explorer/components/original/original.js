/* The real image that is pointed at on a linked map, fetched from the server: the newest wish as
 * soon as the one before it has come. */

function buildOriginal({ component, root, tell }) {
  const image = signalOf("image");
  const { width, shape } = component.data;
  let current = component;
  let loading = false;
  let wanted = null;
  let told = null;

  const caption = element("figcaption");
  const shown = element("img", {
    "data-testid": "original",
    onload: () => {
      tell("");
      announce(shown);
      next();
    },
    onerror: () => {
      tell("The original could not be fetched: reload the page.");
      next();
    },
  });
  shown.style.width = `${width}px`;
  shown.style.aspectRatio = `${shape[2]} / ${shape[1]}`;
  root.replaceChildren(element("figure", {}, shown, caption));

  function want(i) {
    wanted = i;
    if (!loading) next();
  }

  function next() {
    loading = wanted !== null;
    if (!loading) return;
    const { path, labels } = current.data;
    const words = `A real ${labels[wanted]}, image ${wanted}`;
    shown.src = `${path}/${wanted}`;
    shown.alt = words;
    caption.textContent = words;
    wanted = null;
  }

  let unfollow = () => {};
  return {
    update(component) {
      current = component;
      const { selected } = component.data;
      if (told === null) unfollow = image.follow(want);
      if (selected !== told) image.set(selected);
      told = selected;
    },
    close: () => unfollow(),
  };
}

export default instances(buildOriginal);
