"""How is a run doing?"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from explorer import catalog, settings
from explorer.pages import run_record
from training import running

EVERY_SECONDS = 2


def page() -> None:
    """Draw the page."""
    st.title("How is a run doing?")
    root = settings.checkpoints_dir()
    found = {running.folder_of(path).name: path for path in running.runs(root)}
    name = _choose(list(found))
    path = found.get(name)
    if path and _under_way(path):
        st.fragment(_follow, run_every=EVERY_SECONDS)(path)
        return
    if path:
        with st.container():  # a fragment has one, too: a run that ends or goes on stays in place
            run_record.show(path)
    elif name:
        st.info(f"**{catalog.plain(name)}** has not begun yet. It shows here as soon as it does.")
    else:
        st.info(
            f"No run has trained into `{root}` yet. `latent-train fit mnist-conv-vae-z2 --watch` "
            "starts one and opens this page on it; a run without `--watch`, into `runs`, shows in "
            "`latent-explorer --checkpoints runs`."
        )
    st.fragment(_wait, run_every=EVERY_SECONDS)(root, path, _stamp(root, path))


def _choose(names: list[str]) -> str:
    """The run that the user or the link asks for, else the newest; "" where there is none."""
    asked = st.session_state["run"]
    if asked and asked not in names:
        names = [asked, *names]
    if not names:
        return ""
    st.session_state["run"] = asked or names[0]
    return st.selectbox("Run", names, key="run", persist_state="session", width=420)


def _under_way(path: Path) -> bool:
    try:
        return running.read(path).state == "training"
    except ValueError:
        return False


def _stamp(root: Path, path: Path | None) -> tuple[set[Path], float]:
    """Changes when a run begins, and when the one at ``path`` goes on."""
    return set(running.runs(root)), running.changed(path) if path else 0.0


def _wait(root: Path, path: Path | None, stamp: tuple[set[Path], float]) -> None:
    """Draw the page anew once there is news."""
    if _stamp(root, path) != stamp:
        st.rerun()


def _follow(path: Path) -> None:
    """Draw a run that is under way; the page is drawn anew when it has ended."""
    if _under_way(path):
        run_record.show(path)
    else:
        st.rerun()
