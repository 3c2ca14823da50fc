/* Keys press buttons only from where they mean nothing else: sliders, fields, maps and choices
 * keep their own. */

const FREE = "html, body, main, section, h1, summary, a, button:not([role])";
let last = null;
let pressed = {}; // buttons' keys by the keyboard's

function isFree(element) {
  return !element || element.matches(FREE);
}

/* On a phone the steps are one long row; a rerun may draw it anew, and begin it at its start. */
function reveal() {
  const here = document.querySelector(".st-key-steps [kind=primary]");
  const row = here?.closest(".st-key-steps");
  if (!row) return;
  const step = here.getBoundingClientRect();
  const all = row.getBoundingClientRect();
  if (step.left >= all.left && step.right <= all.right) return;
  row.scrollLeft += (step.left + step.right - all.left - all.right) / 2;
}

/* Only at a new place: a rerun of the same one leaves the page where it is scrolled to. */
function arrive(heading) {
  if (last === null || !isFree(document.activeElement)) return;
  heading?.focus({ preventScroll: true });
  document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
}

function onKey(event) {
  const modified = event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
  if (modified || event.repeat || event.defaultPrevented) return;
  if (!isFree(event.composedPath()[0])) return;
  const key = pressed[event.key];
  const button = key && document.querySelector(`.st-key-${key} button:enabled`);
  if (!button) return;
  event.preventDefault(); // Page Down would also scroll
  button.click();
}

/* Called for every rerun, too: the same listener is added only once. */
export default function ({ data }) {
  pressed = data.pressed;
  const heading = document.querySelector("[data-testid=stMain] h1");
  heading?.setAttribute("tabindex", "-1");
  reveal();
  if (last !== data.place) arrive(heading);
  last = data.place;
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
