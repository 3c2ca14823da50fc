"""What Streamlit runs for every session: the pages, the model of the sidebar, the link."""

from __future__ import annotations

import streamlit as st

from explorer import catalog, links, resources, settings
from explorer.pages import digits, map, morph, reports, runs, sliders

PAGES = {
    "map": st.Page(map.page, title="Map", icon=":material/scatter_plot:", default=True),
    "sliders": st.Page(sliders.page, title="Sliders", icon=":material/tune:", url_path="sliders"),
    "morph": st.Page(morph.page, title="Morph", icon=":material/animation:", url_path="morph"),
    "digits": st.Page(digits.page, title="Digits", icon=":material/pin:", url_path="digits"),
    "reports": st.Page(
        reports.page, title="Reports", icon=":material/article:", url_path="reports"
    ),
    "training": st.Page(
        runs.page, title="Training", icon=":material/monitoring:", url_path="training"
    ),
}


def main() -> None:
    """Draw the app once."""
    st.set_page_config("Latent Explorer", "🧭", layout="wide")
    links.restore()
    page = st.navigation(list(PAGES.values()))
    name = next(name for name, one in PAGES.items() if one == page)
    if "model" in links.PAGE_KEYS[name]:  # the others are about many models
        found = resources.models()
        if not found.cards:
            no_models(found)
            return
        choose_model(found)
    if problems := st.session_state["link_problems"]:
        st.warning("Some of this link could not be read and was left out: " + "; ".join(problems))
    page.run()
    links.publish(name)


def choose_model(found: catalog.Catalog) -> None:
    """The sidebar: which model, its card in words, and what failed to load."""
    asked = st.session_state["model"]
    if asked not in found.cards:
        if asked:
            st.warning(f"There is no model {asked!r} here; this is another one.")
        st.session_state["model"] = next(iter(found.cards))
    with st.sidebar:
        st.selectbox(
            "Model",
            list(found.cards),
            format_func=lambda name: found.cards[name].recipe.title,
            key="model",
            persist_state="session",
        )
        st.markdown(catalog.describe(found.cards[st.session_state["model"]]))
        for name, problem in found.problems.items():
            st.error(
                f"**{name}** was left out: {catalog.plain(problem)}.",
                icon=":material/broken_image:",
            )


def no_models(found: catalog.Catalog) -> None:
    """The page of an app without a single usable checkpoint."""
    st.title("No models yet")
    st.markdown(
        f"There is no usable checkpoint in `{found.root}`. Train one with "
        "`latent-train fit mnist-conv-vae-z2` and open it with "
        "`latent-explorer --checkpoints runs`, or leave `--checkpoints` out to see the ones that "
        "come with the project."
    )
    for name, problem in found.problems.items():
        st.error(f"**{name}**: {catalog.plain(problem)}.")
    st.caption(f"Data folder: {settings.data_dir()}")


main()
