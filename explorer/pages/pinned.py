"""A picture that stays in view while the page that moves it is scrolled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

KEY = "pinned"
# On a phone, where columns stand below one another, the picture comes first and is small enough to
# leave room for what moves it; pictures side by side stay so.
STYLE = """<style>
.stColumn:has(.st-key-{key}) {{ position: sticky; top: 4rem; align-self: flex-start; z-index: 2; }}
@media (max-width: 640px) {{
  .stColumn:has(.st-key-{key}) {{
    order: -1; top: 3rem; padding-block: 0.5rem; background: {ground};
  }}
  .st-key-{key} {{ max-width: {most}; }}
  .st-key-{key} .stHorizontalBlock {{ flex-wrap: nowrap; }}
  .st-key-{key} .stHorizontalBlock > * {{ min-width: 0; }}
  .st-key-{key} :is(h3, h4, h5) {{ font-size: 0.9rem; padding-block: 0; }}
}}
</style>"""


@contextmanager
def pinned(all_across: bool = False) -> Iterator[None]:
    """Within a column: what is drawn inside keeps that column in view.

    On a phone it is made small, unless it takes what there is ``all_across``.
    """
    ground = st.get_option(f"theme.{st.context.theme.type or 'light'}.backgroundColor")
    st.html(STYLE.format(key=KEY, ground=ground, most="none" if all_across else "11rem"))
    with st.container(key=KEY):
        yield
