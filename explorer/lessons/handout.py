"""A lesson on paper: one HTML file with what was predicted, measured and drawn. No Streamlit here.

The file needs nothing else: no scripts, no links, pictures inside. All text is escaped.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from html import escape, unescape
from typing import Any

import numpy as np

from explorer import pictures
from explorer.lessons import Exhibit, Lesson, Step, progress
from explorer.pictures import Pixels

MOST_PICTURES = 4
"""Pictures of a step that are kept."""
MOST_PIXELS = 500_000
"""Pixels that each of them has at most; larger ones are averaged down."""
MOST_ROWS = 20
"""Rows of a step's table that are kept."""

SIGNS = {
    name: unescape(f"&{name};")
    for name in ("alpha", "beta", "lambda", "mu", "sigma", "approx", "times", "le", "ge")
}
"""Commands of LaTeX that are a character of text, as HTML has them under the same names."""

_STYLE = """
body { font: 11pt/1.4 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  color: #14212b; background: #fff; }
h1 { font-size: 1.5em; margin: 0; }
h2 { font-size: 1.05em; margin: 0 0 .2em; }
p { margin: .2em 0; }
section { margin-top: .9em; padding-top: .6em; border-top: 1px solid #b9c4cc;
  break-inside: avoid; }
.about, figcaption, footer { color: #44525c; font-size: .9em; }
.pictures { display: flex; flex-wrap: wrap; gap: .6em; margin-top: .4em; }
figure { margin: 0; flex: 0 1 auto; }
img { image-rendering: pixelated; max-width: 100%; max-height: 11em; min-height: 4em;
  object-fit: contain; object-position: left; display: block; }
table { border-collapse: collapse; margin-top: .4em; font-size: .85em; }
th, td { border: 1px solid #b9c4cc; padding: .1em .5em; text-align: left; }
footer { margin-top: 1em; }
@page { margin: 12mm; }
@media print {
  body { font-size: 8.5pt; line-height: 1.3; margin: 0; padding: 0; max-width: none; }
  section { margin-top: .5em; padding-top: .4em; }
  img { max-height: 8em; }
}
"""


def bounded(exhibit: Exhibit) -> Exhibit:
    """An exhibit small enough to be kept: its first pictures and rows, large pictures reduced."""
    some = list(exhibit.pictures.items())[:MOST_PICTURES]
    return replace(
        exhibit,
        pictures={caption: _reduced(picture) for caption, picture in some},
        table=exhibit.table[:MOST_ROWS],
    )


def _reduced(picture: Pixels) -> Pixels:
    """A picture (H, W, C) of at most `MOST_PIXELS`."""
    height, width = picture.shape[:2]
    factor = math.ceil(math.sqrt(height * width / MOST_PIXELS))
    return pictures.reduced(picture[None], max(height // factor, 1))[0]


def build(lesson: Lesson, now: str, shown: Mapping[str, Exhibit], day: date) -> str:
    """The file's text: of every step seen, its question, prediction, answer, pictures and table.

    ``now`` are the marks of the steps (see `progress.marks`), ``shown`` exhibits by the names of
    their steps, ``day`` the day of the lesson.
    """
    steps = list(enumerate(zip(lesson.steps, now, strict=True), 1))
    seen = [
        _section(i, step, mark, shown.get(step.name, Exhibit()))
        for i, (step, mark) in steps
        if mark != progress.OPEN
    ]
    missing = [f"{i} {escape(step.title)}" for i, (step, mark) in steps if mark == progress.OPEN]
    left_out = f"Not visited: {', '.join(missing)}. " if missing else ""
    title = escape(lesson.title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="about">{simple(lesson.about)} {day.day} {day:%B %Y}.</p>
{"".join(seen)}<footer>{left_out}Latent Explorer</footer>
</body>
</html>
"""


def _section(number: int, step: Step, mark: str, exhibit: Exhibit) -> str:
    lines = [f"<h2>{number}. {simple(step.question)}</h2>"]
    if mark.isdecimal():
        words = {None: "", True: " ✓ right", False: " ✗ not so"}
        became = words[progress.is_right(mark, exhibit.finding)]
        lines.append(f"<p>Predicted: {simple(step.options[int(mark)])}{became}</p>")
    if exhibit.finding:
        lines.append(f"<p>Measured: {simple(exhibit.finding.words)}</p>")
    elif not exhibit.pictures and not exhibit.table:
        lines.append("<p>Nothing was measured.</p>")
    if exhibit.pictures:
        drawn = "\n".join(_figure(*one) for one in exhibit.pictures.items())
        lines.append(f'<div class="pictures">\n{drawn}\n</div>')
    if exhibit.table:
        lines.append(_table(exhibit.table))
    return "<section>\n" + "\n".join(lines) + "\n</section>\n"


def _figure(caption: str, picture: Pixels) -> str:
    data = base64.b64encode(pictures.png(picture)).decode()
    words = simple(caption)
    alt = re.sub("</?b>", "", words)
    return (
        f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    titles = list(dict.fromkeys(title for row in rows for title in row))
    head = "".join(f"<th>{simple(title)}</th>" for title in titles)
    body = [
        "<tr>" + "".join(f"<td>{_cell(row.get(title))}</td>" for title in titles) + "</tr>"
        for row in rows
    ]
    return "\n".join([f"<table>\n<tr>{head}</tr>", *body, "</table>"])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return simple(f"{value:,}" if type(value) is int else str(value))


def simple(markdown: str) -> str:
    """Markdown as escaped HTML: bold stays, links are text, pictures and formulas are left out.

    Formulas that are a line of `SIGNS`, letters and numbers stay as text.
    """
    text = re.sub(r"(?s)\$\$.*?\$\$", "", markdown)
    text = re.sub(r"(?<!\\)\$(.*?)(?<!\\)\$", lambda found: _formula(found[1]), text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|:material/\w+:", "", text)
    text = re.sub(r"(?<!\\)\[([^\]]*)\]\([^)]*\)|:[a-z-]+\[([^\]]*)\]", r"\1\2", text)
    text = escape(re.sub(r" ([.,;])", r"\1", " ".join(text.split())))
    text = re.sub(r"(?<!\\)\*\*(.+?)(?<!\\)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(?<![\\*])[*`](\S(?:.*?[^\\])?)[*`]", r"\1", text)
    return re.sub(r"\\([\\`*_\[\]#!$:~|]|&lt;|&gt;)", r"\1", text)


def _formula(latex: str) -> str:
    """A formula as text; "" where it takes more than a line of letters and signs."""
    text = re.sub(r"\\([a-zA-Z]+)", lambda found: SIGNS.get(found[1], found[0]), latex)
    return "" if re.search(r"[\\{}_^&]", text) else text
