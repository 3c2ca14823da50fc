/* Keys press buttons only from where they mean nothing else: sliders, fields, maps and choices
 * keep their own. */

const FREE = "html, body, main, section, h1, summary, a, button:not([role])";
let last = null;
let pressed = {}; // buttons' keys by the keyboard's

function isFree(element) {
  return !element || element.matches(FREE);
}

/* Only at a new place: a rerun of the same one leaves the page where it is scrolled to. */
function arrive(heading) {
  const here = document.querySelector(".st-key-steps [kind=primary]");
  here?.scrollIntoView({ block: "nearest", inline: "center" });
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
  if (last !== data.place) arrive(heading);
  last = data.place;
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
