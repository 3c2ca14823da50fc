"""What Streamlit runs for every session: the pages, the model of the sidebar, the link."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from explorer import catalog, links, resources, state
from explorer.pages import (
    absent,
    compare,
    digits,
    draw,
    lessons,
    map,
    models,
    morph,
    replay,
    reports,
    runs,
    sliders,
)
from training.data import DataError

TITLE = "Latent Explorer"
STYLE = Path(__file__).with_name("router.css")
PAGES = {
    "models": st.Page(models.page, title="Models", icon=":material/grid_view:", default=True),
    "map": st.Page(map.page, title="Map", icon=":material/scatter_plot:", url_path="map"),
    "sliders": st.Page(sliders.page, title="Sliders", icon=":material/tune:", url_path="sliders"),
    "morph": st.Page(morph.page, title="Morph", icon=":material/animation:", url_path="morph"),
    "draw": st.Page(draw.page, title="Draw", icon=":material/draw:", url_path="draw"),
    "digits": st.Page(digits.page, title="Digits", icon=":material/pin:", url_path="digits"),
    "compare": st.Page(
        compare.page, title="Compare", icon=":material/compare:", url_path="compare"
    ),
    "replay": st.Page(replay.page, title="Replay", icon=":material/history:", url_path="replay"),
    "lessons": st.Page(lessons.page, title="Lessons", icon=":material/school:", url_path="lessons"),
    "reports": st.Page(
        reports.page, title="Reports", icon=":material/article:", url_path="reports"
    ),
    "training": st.Page(
        runs.page, title="Training", icon=":material/monitoring:", url_path="training"
    ),
}


def main() -> None:
    """Draw the app once."""
    # First: without an icon of ours, Streamlit fetches that of the page from the Internet.
    st.set_page_config(TITLE, "🧭", layout="wide")
    st.html(STYLE)
    opened = links.restore()
    page = st.navigation(list(PAGES.values()))
    name = next(name for name, one in PAGES.items() if one == page)
    if name != "models":
        st.set_page_config(f"{page.title} · {TITLE}")
    if opened and name == "models" and st.query_params.keys() & set(links.PAGE_KEYS["map"]):
        st.switch_page(PAGES["map"])  # the link is of a time when the map was the first page
    if asked := st.session_state.pop("go", None):
        st.switch_page(PAGES[asked])
    if links.follow(name):
        state.tell_all()  # what was pointed at on another page, and not settled on, stays behind
    if "model" in links.PAGE_KEYS[name]:  # the others are about many models
        found = resources.models()
        if not found.cards:
            absent.no_models(found)
            return
        choose_model(found)
    if problems := st.session_state["link_problems"]:
        st.warning("Some of this link could not be read and was left out: " + "; ".join(problems))
    try:
        page.run()
    except DataError as error:  # a real image that is damaged: met only when it is shown
        st.error(catalog.plain(str(error)))
    links.publish(name)


def choose_model(found: catalog.Catalog) -> None:
    """The sidebar: which model, its card in words, and what failed to load."""
    asked = st.session_state["model"]
    if asked not in found.cards:
        if asked:
            st.warning(f"There is no model {catalog.plain(repr(asked))} here; this is another one.")
        st.session_state["model"] = next(iter(found.cards))
    with st.sidebar:
        st.selectbox(
            "Model",
            list(found.cards),
            format_func=lambda name: found.cards[name].title,
            key="model",
            persist_state="session",
        )
        st.markdown(catalog.describe(found.cards[st.session_state["model"]]))
        if found.problems:
            with st.expander(f"Left out: {len(found.problems)}", icon=":material/broken_image:"):
                st.markdown("\n\n".join(catalog.told(found)))


main()
