"""The handout: HTML that parses, nothing hostile in it, and the very pixels that were shown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from datetime import date
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from explorer.lessons import Exhibit, Finding, Lesson, Step, handout, progress

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
DAY = date(2026, 3, 7)
STEPS = (
    Step("guess", "Guess", "How many digits?", ("All ten", "One & a half", "None")),
    Step("cure", "The cure", "Which loss brings them back?", ("Wasserstein", "Cross-entropy")),
    Step("open", "Now you", "Can you make it collapse?"),
)
LESSON = Lesson("digits", "Which digits are lost?", "A generator that **collapsed**.", 9, STEPS)
VOID = {"meta", "img"}


@dataclass
class Parsed(HTMLParser):
    """What a browser would make of the file: tags in order, their attributes, and the text."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def parsed(text: str) -> Parsed:
    """A file whose tags all close in order."""
    found = Parsed()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


def words(found: Parsed) -> str:
    return " ".join(" ".join(found.text).split())


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def pixels_of(attributes: dict[str, str | None]) -> np.ndarray:
    kind, _, data = (attributes["src"] or "").partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def test_every_step_seen_is_there_in_order_and_the_others_are_named() -> None:
    shown = {"guess": Exhibit(Finding(1, "It draws **1.5** of ten."))}
    found = parsed(handout.build(LESSON, "2--", shown, DAY))
    assert found.every("html") == [{"lang": "en"}]
    assert "7 March 2026" in words(found)
    assert "1. How many digits?" in words(found)
    assert "Predicted: None ✗ not so" in words(found)
    assert "Measured: It draws 1.5 of ten." in words(found)
    assert "Which loss" not in words(found)
    assert "Not visited: 2 The cure, 3 Now you." in words(found)
    assert len(found.every("section")) == 1
    whole = parsed(handout.build(LESSON, "1xx", shown, DAY))
    assert "Predicted: One & a half ✓ right" in words(whole)
    assert "Not visited" not in words(whole)
    assert words(whole).count("Predicted:") == 1
    assert words(whole).count("Nothing was measured.") == 2
    assert whole.text.index("1. How many digits?") < whole.text.index(
        "2. Which loss brings them back?"
    )


def test_a_prediction_that_was_not_measured_is_neither_right_nor_wrong() -> None:
    text = words(parsed(handout.build(LESSON, "0--", {}, DAY)))
    assert "Predicted: All ten Nothing was measured." in text
    assert "✓" not in text
    assert "✗" not in text


def test_nothing_in_it_runs_or_leads_elsewhere() -> None:
    hostile = Step(HOSTILE, HOSTILE, HOSTILE + "?", (HOSTILE, HOSTILE))
    lesson = Lesson("x", HOSTILE, HOSTILE, 5, (hostile,))
    exhibit = Exhibit(
        Finding(0, HOSTILE + " [here](javascript:alert(3)) ![](https://evil.example/x.png)"),
        {HOSTILE: picture((4, 4, 1))},
        [{HOSTILE: HOSTILE}],
    )
    text = handout.build(lesson, "0", {HOSTILE: exhibit}, DAY)
    found = parsed(text)
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section"}
    allowed |= {"div", "figure", "img", "figcaption", "table", "tr", "th", "td", "footer", "b"}
    assert {tag for tag, _ in found.tags} <= allowed
    [image] = found.every("img")
    assert image.keys() == {"alt", "src"}
    assert image["alt"] == HOSTILE
    assert words(found).count(HOSTILE) == 9  # title twice, about, question, said, measured, …
    for never in ("javascript:", "evil.example", "http://", "https://", "@import", "url("):
        assert never not in text
    policy = next(one for one in found.every("meta") if "http-equiv" in one)
    assert (policy["content"] or "").startswith("default-src 'none'")


@pytest.mark.parametrize("shape", [(28, 300, 1), (60, 50, 3)])
def test_a_picture_decodes_to_the_very_pixels(shape: tuple[int, ...]) -> None:
    images = [picture(shape, seed) for seed in range(2)]
    exhibit = Exhibit(pictures={f"Picture *{i}*": image for i, image in enumerate(images)})
    found = parsed(handout.build(LESSON, "x--", {"guess": handout.bounded(exhibit)}, DAY))
    tags = found.every("img")
    assert [tag["alt"] for tag in tags] == ["Picture 0", "Picture 1"]
    for tag, image in zip(tags, images, strict=True):
        np.testing.assert_array_equal(pixels_of(tag), image.squeeze(-1) if shape[2] == 1 else image)


@pytest.mark.parametrize(
    "shape", [(1000, 1000, 3), (9, 900_000, 1), (3000, 700, 1), (500, 1000, 3), (28, 28, 1)]
)
def test_what_is_kept_of_a_picture_is_bounded(shape: tuple[int, ...]) -> None:
    grey = np.full(shape, 77, np.uint8)
    [kept] = handout.bounded(Exhibit(pictures={"grey": grey})).pictures.values()
    height, width, channels = kept.shape
    assert height * width <= handout.MOST_PIXELS
    assert channels == shape[2]
    assert (kept == 77).all(), "averaged, so that an even picture stays even"
    if shape[0] * shape[1] <= handout.MOST_PIXELS:
        np.testing.assert_array_equal(kept, grey)


def test_only_the_first_pictures_and_rows_are_kept() -> None:
    many = {str(i): picture((2, 2, 1), i) for i in range(9)}
    kept = handout.bounded(Exhibit(Finding(0, "x"), many, [{"row": i} for i in range(99)]))
    assert list(kept.pictures) == ["0", "1", "2", "3"]
    assert [row["row"] for row in kept.table] == list(range(20))
    assert kept.finding == Finding(0, "x")


def test_a_table_has_a_column_for_every_title_and_numbers_people_read() -> None:
    rows = [
        {"digit": 3, "share": 0.123456, "seen": 12000},
        {"digit": "4 < 5", "of": None, "share": np.float32(0.5)},
    ]
    found = parsed(handout.build(LESSON, "x--", {"guess": Exhibit(table=rows)}, DAY))
    cells = [text for text in found.text if text.strip()]
    start = cells.index("digit")
    assert cells[start : start + 4] == ["digit", "share", "seen", "of"]
    assert cells[start + 4 : start + 9] == ["3", "0.1235", "12,000", "4 < 5", "0.5"]
    assert (len(found.every("th")), len(found.every("td"))) == (4, 8)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("Of ten, **two** came.", "Of ten, <b>two</b> came."),
        ("*Slanted* and `code_of_it`.", "Slanted and code_of_it."),
        ("At $\\beta = 4$, $D(x) \\approx 0.5$.", "At β = 4, D(x) ≈ 0.5."),
        ("Loss $\\frac{1}{n}\\sum_i x_i^2$, $D_{KL}$.", "Loss,."),
        ("Before $$\\sum_i x_i^2$$ after", "Before after"),
        ("In [0, 1], said [a page](https://x.example/y).", "In [0, 1], said a page."),
        (":material/check: :green[good] at 3:45", "good at 3:45"),
        ("5 \\$ and 6 \\$, \\*not\\* slanted", "5 $ and 6 $, *not* slanted"),
        ("2 * 3 * 4 < 25 & more", "2 * 3 * 4 &lt; 25 &amp; more"),
        ("two\n\nparagraphs", "two paragraphs"),
    ],
)
def test_markdown_becomes_words(markdown: str, html: str) -> None:
    assert handout.simple(markdown) == html


def test_marks_are_read_as_far_as_the_lesson_goes() -> None:
    assert progress.marks({}, LESSON) == "---"
    assert progress.marks({"digits": "2"}, LESSON) == "2--"
    assert progress.marks({"digits": "32x0x"}, LESSON) == "--x", "options that are not there"
    assert progress.marks({"digits": "000"}, LESSON) == "00-", "nothing to say at an open step"


def test_a_mark_is_set_without_touching_the_others() -> None:
    said = {"blur": "01", "digits": "0"}
    after = progress.marked(said, LESSON, 2, progress.LOOKED)
    assert after == {"blur": "01", "digits": "0-x"}
    assert progress.marked(after, LESSON, 2, progress.OPEN) == said
    assert progress.marked({"digits": "0"}, LESSON, 0, progress.OPEN) == {}
    assert said == {"blur": "01", "digits": "0"}


def test_progress_is_counted_by_hand() -> None:
    assert [progress.done(now) for now in ("---", "0--", "-x-", "012")] == [0, 1, 1, 3]
    assert [progress.first_open(now) for now in ("---", "0--", "0x-", "-x0", "012")] == [
        0,
        1,
        2,
        0,
        0,
    ]
    findings = [Finding(0, ""), Finding(None, ""), None, Finding(1, ""), Finding(2, "")]
    assert progress.score("00011", findings) == (2, 4)
    assert progress.score("01xx-", findings) == (1, 2)
    assert progress.score("0000x", [None] * 5) == (0, 0)


@pytest.mark.parametrize(
    ("mark", "finding", "words"),
    [
        ("-", Finding(0, ""), "not yet"),
        ("x", Finding(0, ""), "seen"),
        ("1", None, "predicted"),
        ("1", Finding(1, ""), "✓ right"),
        ("1", Finding(0, ""), "✗ not so"),
        ("1", Finding(None, ""), "✗ not so"),
    ],
)
def test_what_became_of_a_step_is_said_in_words(
    mark: str, finding: Finding | None, words: str
) -> None:
    assert progress.standing(mark, finding) == words
