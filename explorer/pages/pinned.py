"""A picture that stays in view while the page that moves it is scrolled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

KEY = "pinned"
# Where a screen has no room for both columns, they stand below one another: the picture first,
# small enough to leave room for what moves it, and the rest of its column last. Pictures side by
# side stay so.
STYLE = """<style>
.stColumn:has(.st-key-{key}) {{ position: sticky; top: 4rem; align-self: flex-start; z-index: 2; }}
@media (max-width: 1000px) {{
  .stHorizontalBlock:has(> .stColumn .st-key-{key}) {{ row-gap: 1rem; }}
  .stHorizontalBlock:has(> .stColumn .st-key-{key}) > .stColumn {{ min-width: 100%; }}
  .stColumn:has(.st-key-{key}), .stColumn:has(.st-key-{key}) > .stVerticalBlock {{
    display: contents;
  }}
  .stVerticalBlock > :has(> .st-key-{key}) {{
    order: -1; position: sticky; top: 3rem; z-index: 2;
    padding-block: 0.5rem; background: {ground};
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

    On a phone or a tablet it is made small, unless it takes what there is ``all_across``.
    """
    ground = st.get_option(f"theme.{st.context.theme.type or 'light'}.backgroundColor")
    st.html(STYLE.format(key=KEY, ground=ground, most="none" if all_across else "max(11rem, 22vh)"))
    with st.container(key=KEY):
        yield
