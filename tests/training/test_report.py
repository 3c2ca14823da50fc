"""What the reports say, and the README and report.json that a folder of checkpoints gets."""

import json
import os
import re
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from training import results
from training.checkpoint import Card, Judged, Scores, add_scores, find, read_card, shipped
from training.recipes import RECIPES
from training.report import FIGURES, REPORTED, REPORTS, SAYS, data, markdown, rows, says, write
from training.scores import SCORES

OF_REPORTS = [recipe for recipe in RECIPES.values() if recipe.report]
VAE, CGAN, JUDGE = "mnist-conv-vae-z2", "mnist-cgan", "judges/mnist-judge"
HOSTILE = (
    'a | b\n| --- |\r\n\n# <script>alert(1)</script> "><img src=x onerror=alert(1)> [c](https://d.e)'
    " ![f](g) `h` \\| *i* __j__ ~~k~~ &lt; www.l.m n@o.p \u202e\u2028\x1b q"
)


@pytest.fixture
def root(tiny_checkpoints: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoints to write into."""
    return shutil.copytree(tiny_checkpoints, tmp_path / "checkpoints")


def cards_in(root: Path) -> dict[str, Card]:
    return {folder.relative_to(root).as_posix(): read_card(folder) for folder in find(root)}


def scores(judge: str = "a", samples: int = 10_000, real: bool = True, **values: float) -> Scores:
    """Scores of those values, by the judge whose hash is that letter."""
    return Scores(
        samples=samples,
        seed=3,
        values=values,
        real={"inception_score": 9.876, "frechet": 0.25} if real else {},
        judge=Judged(name="mnist-judge", sha256=judge * 64, accuracy=0.9921),
        data_sha256="d" * 64,
        device="cpu",
        seconds=1.0,
    )


def with_scores(card: Card, name: str, measured: Scores | None) -> Card:
    """The card as that of the recipe ``name``, with those scores."""
    recipe = replace(card.recipe, name=name)
    return card.model_copy(update={"recipe": recipe, "scores": measured})


def inlines(text: str) -> list[Token]:
    """Everything within paragraphs, headings and cells, as CommonMark with tables reads it."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [child for token in tokens for child in token.children or []]


def tables(text: str) -> dict[str, list[list[str]]]:
    """Cells in plain words of every table, header first, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    heading, kind = "", ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            found.setdefault(heading, []).append([])
        if token.type == "inline":
            words = "".join(child.content for child in token.children or [] if child.type == "text")
            if kind == "heading_open":
                heading = words
            elif kind in ("th_open", "td_open"):
                found[heading][-1].append(words)
        kind = token.type
    return found


def column(table: list[list[str]], title: str) -> list[str]:
    return [line[table[0].index(title)] for line in table[1:]]


def links(text: str) -> list[str]:
    """Where links and pictures lead."""
    targets = [str(token.attrs["href"]) for token in inlines(text) if token.type == "link_open"]
    return targets + re.findall(r'<img src="([^"]*)"', text)


def numbers(cell: str) -> list[float]:
    return [float(part.replace(",", "")) for part in re.findall(r"-?[\d,]*\.?\d+", cell)]


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


# --- what the reports say


@pytest.mark.parametrize("recipe", OF_REPORTS, ids=lambda recipe: recipe.name)
def test_every_system_of_a_report_has_a_sentence_or_two(recipe):
    text = says(recipe)
    assert 1 <= len(re.findall(r"\.(?: [A-Z]|$)", text)) <= 2
    assert text[0].isupper()
    assert text.endswith(".")
    assert len(text) <= 240


def test_nothing_is_said_of_the_projects_own():
    own = [recipe for recipe in RECIPES.values() if not recipe.report]
    assert len(own) >= 10
    assert {says(recipe) for recipe in own} == {""}


def test_every_sentence_is_said_of_a_system_of_its_report():
    for pattern, text in SAYS.items():
        of = {recipe.report for recipe in OF_REPORTS if text in says(recipe)}
        assert of == {pattern[:2]}


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        (
            "in the hundreds",
            "mnist-dense-vae-h512-z2 mnist-dense-vae-h512-z5 mnist-dense-vae-h512-z10",
        ),
        ("does not cure the blur", "-dense-vae-h128-z2 -dense-vae-h256-z2 -dense-vae-h512-z2"),
        ("mode collapsed", "-dcgan-deep-z100"),
        ("hardly matters", "-dcgan-z100 -dcgan-z10"),
        ("sooner", "-wgan-z10"),
        ("settles after about 600 epochs", "-wgan-z100 -wgan-deep-z100"),
        ("stays noise", "-wgan-z10 -wgan-z100 -wgan-deep-z100"),
        ("1.72 ± 0.25", "mnist-lstm-vae-z10"),
        ("7.52 ± 0.58", "mnist-gan-r2"),
        ("nested", "mnist-lstm-vae-z2"),
        ("not converged", "mnist-wgan-r2"),
        ("one digit", "mnist-gan-r2-collapse"),
        ("not always a digit", "mnist-gan-r3"),
        ("best of the three", "mnist-cgan"),
        ("too few for a GAN", "mnist-gan-r4-z2 mnist-wgan-gp-z2"),
        (
            "near epoch 60",
            "mnist-linear-vae-z2 mnist-linear-vae-z64 mnist-gan-r4-z2 "
            "mnist-gan-r4-z64 mnist-wgan-gp-z2 mnist-wgan-gp-z64",
        ),
        ("broken strokes", "mnist-mlp-gan"),
        ("feature matching", "imagenette-gan-z500 imagenette-gan-z500-helped"),
    ],
)
def test_what_is_said_is_said_of_the_right_systems(phrase, names):
    """A name without its data set stands for both of R1's."""
    expected = {
        f"{dataset}{name}"
        for name in names.split()
        for dataset in (("mnist", "cifar10") if name.startswith("-") else ("",))
    }
    assert {recipe.name for recipe in OF_REPORTS if phrase in says(recipe)} == expected


def test_the_scores_and_figures_of_the_reports():
    assert {name: (s.value, s.std, s.images) for name, s in REPORTED["R2"].items()} == {
        "real": (9.50, 0.01, 500),
        "VAE": (1.72, 0.25, 500),
        "GAN": (7.52, 0.58, 500),
    }
    assert {s.score for group in REPORTED.values() for s in group.values()} <= SCORES.keys()
    assert tuple(FIGURES) == REPORTS
    assert FIGURES["R4"] == "15, 22, 29, 36, 43, 50"


def test_rows_are_in_the_order_of_the_recipes_with_the_cards_there_are(tiny_checkpoints):
    cards = cards_in(tiny_checkpoints)
    listed = rows(cards, "R3")
    assert [row.recipe.name for row in listed] == [VAE, "mnist-gan-r3", CGAN]
    assert [row.card for row in listed] == [cards[VAE], None, cards[CGAN]]
    assert all(row.says for row in listed)
    assert sum(len(rows(cards, report)) for report in REPORTS) == len(OF_REPORTS)


def test_another_systems_card_in_a_systems_folder_is_not_taken_for_its(tiny_checkpoints):
    foreign = {"mnist-gan-r3": cards_in(tiny_checkpoints)[CGAN]}
    assert [row.card for row in rows(foreign, "R3")] == [None, None, None]
    assert "`latent-train fit mnist-gan-r3`" in markdown(foreign)
    assert column(tables(markdown(foreign))["Our own"], "model") == ["Conditional GANmnist-gan-r3"]


# --- the README


def test_it_says_what_it_is_and_who_wrote_it(tiny_checkpoints):
    text = markdown(cards_in(tiny_checkpoints))
    assert text.startswith("# ")
    assert text.split("\n\n")[1] == "Written by `latent-train report`; do not edit."
    assert "9.50 ± 0.01" not in text  # R2 says it, and nothing of R2 is here


@pytest.mark.parametrize("which", ["tiny", "shipped"])
def test_every_missing_system_is_listed_with_its_command_and_no_trained_one(
    which, tiny_checkpoints
):
    cards = cards_in(tiny_checkpoints if which == "tiny" else shipped())
    commands = re.findall(r"^- `latent-train fit (\S+)`", markdown(cards), re.M)
    trained = cards.keys() & {recipe.name for recipe in OF_REPORTS}
    assert trained >= {VAE, CGAN}
    assert sorted(commands) == sorted({recipe.name for recipe in OF_REPORTS} - trained)


def test_nothing_is_missing_once_all_is_trained(tiny_checkpoints):
    card = cards_in(tiny_checkpoints)[CGAN]
    cards = {recipe.name: with_scores(card, recipe.name, None) for recipe in OF_REPORTS}
    text = markdown(cards)
    assert "latent-train fit" not in text
    assert "Nothing: every system" in text
    found = tables(text)
    assert [len(found[report]) - 1 for report in REPORTS] == [22, 5, 3, 12, 5]
    assert "1.72 ± 0.25" in text.split("## R2")[1].split("## R3")[0]


@pytest.mark.parametrize("which", ["tiny", "shipped"])
def test_links_and_pictures_lead_to_files(which, tiny_checkpoints):
    root = tiny_checkpoints if which == "tiny" else shipped()
    cards = cards_in(root)
    found = links(markdown(cards))
    models = [card for card in cards.values() if card.family != "classifier"]
    assert len([link for link in found if link.endswith("samples.png")]) == len(models)
    assert all((root / unquote(link)).is_file() for link in found)


def test_the_numbers_of_a_model_are_its_cards(tiny_checkpoints):
    cards = cards_in(tiny_checkpoints)
    vae = cards[VAE]
    cards[VAE] = vae.model_copy(update={"epochs": 7, "notes": "Stopped early."})
    found = tables(markdown(cards))
    table = found["R3"]
    reconstruction, kl = (vae.metrics[f"test/{part}"] for part in ("reconstruction", "kl"))
    elbo, gan = column(table, SCORES["negative_elbo"].title)
    assert numbers(elbo) == pytest.approx([reconstruction + kl, reconstruction, kl], abs=0.051)
    assert gan == ""
    assert column(table, "epochs of planned") == ["7 of 2", "2 of 2"]
    assert column(table, "data set, family") == ["halves, vae", "halves, cgan"]
    assert column(table, "notes") == ["Stopped early.", cards[CGAN].notes]
    assert column(table, "the report says") == [says(RECIPES[VAE]), says(RECIPES[CGAN])]
    for size, name in zip(column(table, "KB"), (VAE, CGAN), strict=True):
        on_disk = sum((tiny_checkpoints / name / f).stat().st_size for f in cards[name].files)
        assert numbers(size) == pytest.approx([on_disk / 1000], abs=0.51)
    (accuracy,) = column(found["Judges"], "test accuracy")
    assert numbers(accuracy) == pytest.approx(
        [100 * cards[JUDGE].metrics["test/accuracy"]], abs=0.006
    )


def test_an_elbo_without_its_beta_and_a_squared_error_named_so(tiny_checkpoints):
    card = cards_in(tiny_checkpoints)[VAE]
    metrics = {"test/total": 999.0, "test/reconstruction": 100.25, "test/kl": 5.5}
    objective = replace(card.recipe.objective, reconstruction="squared-error", beta=4.0)
    recipe = replace(card.recipe, objective=objective)
    text = markdown({VAE: card.model_copy(update={"recipe": recipe, "metrics": metrics})})
    (elbo,) = column(tables(text)["R3"], SCORES["negative_elbo"].title)
    assert re.fullmatch(r"105\.8 = 100\.2 \+ 5\.5, squared error", elbo)


def test_scores_are_beside_the_real_test_sets_and_ranked(tiny_checkpoints):
    card = cards_in(tiny_checkpoints)[CGAN]
    worse = scores(frechet=12.3456, inception_score=8.765, inception_score_std=0.0432, recall=0.5)
    better = scores(frechet=2.5, inception_score=9.5, largest_class=0.125, confidence=0.7)
    text = markdown(
        {
            CGAN: with_scores(card, CGAN, worse),
            "mnist-gan-r3": with_scores(card, "mnist-gan-r3", better),
            "mnist-gan-r2": with_scores(card, "mnist-gan-r2", None),
        }
    )
    table = tables(text)["halves"]
    assert column(table, "model") == ["real test set", "mnist-gan-r3", CGAN]
    assert column(table, f"{SCORES['frechet'].title} ↓") == ["0.25", "2.5", "12.35"]
    inception = column(table, f"{SCORES['inception_score'].title} ↑")
    assert inception == ["9.876", "9.5", "8.765 ± 0.043"]
    assert column(table, f"{SCORES['recall'].title} ↑") == ["", "", "0.5"]
    assert column(table, f"{SCORES['largest_class'].title} ≈") == ["", "0.125", ""]
    assert len(table[0]) == 5  # confidence and the like are in report.json
    assert "10,000 images of each model, judged by mnist-judge (aaaaaaaa)" in text
    assert "99.21 %" in text
    for name in ("frechet", "inception_score", "recall", "largest_class"):
        assert f"- {SCORES[name].title}: {SCORES[name].says}" in text
    assert re.search("Not scored yet.*: <code>mnist-gan-r2</code>", text)
    assert "never with published FID or KID" in text


def test_a_score_added_later_is_shown_by_its_title(tiny_checkpoints, monkeypatch):
    monkeypatch.setitem(SCORES, "new", replace(SCORES["recall"], title="Novelty"))
    card = cards_in(tiny_checkpoints)[CGAN]
    text = markdown({CGAN: with_scores(card, CGAN, scores(new=0.75))})
    assert column(tables(text)["halves"], "Novelty ↑") == ["", "0.75"]


@pytest.mark.parametrize("other", [{"judge": "b"}, {"samples": 500}])
def test_scores_that_do_not_compare_are_in_different_tables(other, tiny_checkpoints):
    card = cards_in(tiny_checkpoints)[CGAN]
    cards = {
        name: with_scores(card, name, scores(frechet=1.0, real=False, **setting))
        for name, setting in ((CGAN, {}), ("mnist-gan-r3", other), ("mnist-gan-r2", {}))
    }
    text = markdown(cards)
    alike = [section.split("|\n\n")[0] for section in text.split("### halves")[1:]]
    assert len(alike) == 2
    assert "real test set" not in "".join(alike)
    assert [{name for name in cards if f"<code>{name}</code>" in part} for part in alike] == [
        {CGAN, "mnist-gan-r2"},
        {"mnist-gan-r3"},
    ]


def test_scores_without_a_judge(tiny_checkpoints):
    card = cards_in(tiny_checkpoints)[CGAN]
    measured = scores(modes=8, high_quality=0.5).model_copy(update={"judge": None})
    text = markdown({CGAN: with_scores(card, CGAN, measured)})
    assert column(tables(text)["halves"], f"{SCORES['modes'].title} ↑") == ["", "8"]
    assert "10,000 images of each model, without a judge." in text


def test_results_stand_among_the_models_and_say_that_they_are_results_only(root):
    shutil.move(root / CGAN, root / "aside")
    measured = scores(inception_score=9.5, frechet=1.0)
    add_scores(root / "aside", measured, read_card(root / "aside").weights_sha256)
    results.keep(root / "aside", root)
    shutil.rmtree(root / "aside")
    write(root)
    text = (root / "README.md").read_text()
    assert "results only" in text.split("## Judges")[0]
    found = tables(text)
    model = column(found["R3"], "model")
    assert model == [f"Convolutional VAE, z=2{VAE}", f"Conditional GANresults/{CGAN}"]
    whole, kept = column(found["R3"], "KB")
    assert "only" not in whole
    assert kept.endswith(" (results only)")
    assert column(found["halves"], "model") == ["real test set", f"results/{CGAN}"]
    assert f"`latent-train fit {CGAN}`" not in text
    assert all((root / unquote(link)).is_file() for link in links(text))
    on_disk = sum(f.stat().st_size for f in root.rglob("*/*") if f.is_file())
    assert f"All checkpoints together: {on_disk / 1e6:.1f} MB" in text
    listed = json.loads((root / "report.json").read_text())["rows"]
    told = {row["recipe"]: (row["trained"], row["shipped"]) for row in listed}
    assert told[VAE] == (True, True)
    assert told[CGAN] == (True, False)
    assert told["mnist-gan-r3"] == (False, False)


def test_weights_that_are_there_go_before_results(root):
    cards = cards_in(root)
    assert [row.shipped for row in rows({f"results/{CGAN}": cards[CGAN]} | cards, "R3")] == [
        True,
        False,
        True,
    ]
    assert "results only" not in markdown(cards)


def test_the_size_is_held_against_the_limit(tiny_checkpoints):
    cards = cards_in(tiny_checkpoints)
    assert "All checkpoints together: 39.9 MB, under the limit of 40 MB" in markdown(
        cards, total_bytes=39_900_000
    )
    assert "All checkpoints together: 41.0 MB, NOT under the limit of 40 MB" in markdown(
        cards, total_bytes=41_000_000
    )


def test_what_strangers_write_breaks_nothing(tiny_checkpoints):
    card = cards_in(tiny_checkpoints)[CGAN]
    measured = scores(frechet=1.0)
    judge = Judged(name=HOSTILE, sha256="a" * 64, accuracy=0.5)
    recipe = replace(card.recipe, name="mine", title=HOSTILE, dataset=HOSTILE, report=HOSTILE)
    cards = {
        HOSTILE: card.model_copy(
            update={
                "recipe": recipe,
                "notes": HOSTILE,
                "scores": measured.model_copy(update={"judge": judge}),
            }
        ),
        "plain": with_scores(card, "plain", measured).model_copy(update={"notes": ""}),
    }
    text = markdown(cards, {HOSTILE: HOSTILE})
    found = tables(text)
    words = " ".join("".join(c if c.isprintable() else " " for c in HOSTILE).split())
    own = found["Our own"]
    assert sorted(column(own, "notes")) == sorted(["", words])
    assert sorted(column(own, "model")) == sorted([words * 2, "Conditional GANplain"])
    assert [len(line) for line in own] == [len(own[0])] * 3
    assert column(found[words], "model") == ["real test set", words]
    assert f"judged by {words} (aaaaaaaa)" in "".join(token.content for token in inlines(text))
    # No markup but ours, in any part of the page.
    html = {token.content for token in inlines(text) if token.type == "html_inline"}
    pictures = {tag for tag in html if tag.startswith("<img ")}
    assert html - pictures == {"<br>", "<code>", "</code>"}
    assert all(
        re.fullmatch(r'<img src="[\w%./~-]+" width="160" alt="[^"<>]*">', tag) for tag in pictures
    )
    assert len(pictures) == 2
    assert all(re.fullmatch(r"[\w%./~-]+/(card.json|samples.png)", link) for link in links(text))
    # GitHub makes links of these where they are no part of one.
    prose = re.sub(r'\]\(\S+\)|src="\S+"', "", text)
    assert not re.search(r"https?://|www\.|\w@\w", prose)


# --- the files


def test_write_makes_two_files_and_the_same_bytes_each_time(root):
    before = tree(root)
    paths = write(root)
    assert sorted(paths) == [root / "README.md", root / "report.json"]
    first = tree(root)
    assert {name: blob for name, blob in first.items() if name in before} == before
    assert first.keys() - before.keys() == {"README.md", "report.json"}
    assert first["README.md"].decode() == markdown(
        cards_in(root), total_bytes=sum(map(len, before.values()))
    )
    assert json.loads(first["report.json"]) == json.loads(json.dumps(data(cards_in(root))))
    write(root)
    assert tree(root) == first
    (root / "other").touch()
    assert (root / "README.md").stat().st_mode == (root / "other").stat().st_mode


def test_files_are_replaced_whole_once_they_are_on_disk(root, monkeypatch):
    write(root)
    kept = root.parent / "kept"
    kept.hardlink_to(root / "README.md")  # what somebody who has opened it goes on reading
    old, synced, fsync = kept.read_bytes(), [], os.fsync

    def spy(handle: int) -> None:
        assert (root / "README.md").read_bytes() == old
        # Beside its place: nothing can be renamed from one file system into another.
        assert [path for path in root.iterdir() if path.name.startswith(".")]
        synced.append(os.fstat(handle).st_size)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    shutil.rmtree(root / CGAN)
    paths = write(root)
    assert sorted(synced) == sorted(path.stat().st_size for path in paths)
    assert kept.read_bytes() == old != (root / "README.md").read_bytes()


def test_the_size_written_is_that_on_disk(root):
    (root / CGAN / "extra").write_bytes(bytes(3_000_000))
    write(root)
    total = sum(len(blob) for name, blob in tree(root).items() if "/" in name)
    assert total > 3_000_000
    assert f"All checkpoints together: {total / 1e6:.1f} MB" in (root / "README.md").read_text()


def test_json_has_every_system_and_every_other_card(tiny_checkpoints):
    cards = cards_in(tiny_checkpoints)
    measured = scores(frechet=1.5, confidence=0.5)
    cards[CGAN] = cards[CGAN].model_copy(update={"scores": measured})
    listed = json.loads(json.dumps(data(cards), allow_nan=False))
    by_name = {row["recipe"]: row for row in listed["rows"]}
    assert list(by_name) == [recipe.name for recipe in OF_REPORTS] + ["mnist-judge"]
    assert len(listed["rows"]) == len(by_name)
    assert {name for name, row in by_name.items() if row["trained"]} == {VAE, CGAN, "mnist-judge"}
    cgan = by_name[CGAN]
    assert cgan == {
        "report": "R3",
        "row": "CGAN",
        "recipe": CGAN,
        "title": "Conditional GAN",
        "says": says(RECIPES[CGAN]),
        "trained": True,
        "shipped": True,
        "epochs": 2,
        "metrics": cards[CGAN].metrics,
        "scores": {
            "values": {"frechet": 1.5, "confidence": 0.5},
            "real": {"inception_score": 9.876, "frechet": 0.25},
            "judge": {"name": "mnist-judge", "sha256": "a" * 64, "accuracy": 0.9921},
            "samples": 10_000,
            "seed": 3,
        },
        "command": "latent-train fit mnist-cgan",
    }
    gan = by_name["mnist-gan-r3"]
    assert (gan["trained"], gan["epochs"], gan["metrics"], gan["scores"]) == (False, 0, {}, None)
    assert gan["command"] == "latent-train fit mnist-gan-r3"
    assert listed["reported"]["R2"]["GAN"]["value"] == 7.52
    assert listed["figures"] == FIGURES


def test_a_damaged_checkpoint_is_left_out_and_named(root):
    (root / CGAN / "samples.png").write_bytes(b"altered")
    strange = root / "a | <b>"
    strange.mkdir()
    (strange / "card.json").write_text("{}")
    write(root)
    text = (root / "README.md").read_text()
    assert "## Problems" not in markdown({})
    problems = text.split("## Problems")[1]
    assert re.search(r"<code>mnist-cgan</code>: samples\.png is truncated", problems)
    assert "<code>a &#124; &#60;b&#62;</code>: card.json has no schema&#95;version" in problems
    assert column(tables(text)["R3"], "model") == [f"Convolutional VAE, z=2{VAE}"]
    assert "`latent-train fit mnist-cgan`" in text
    listed = json.loads((root / "report.json").read_text())["rows"]
    assert [row["trained"] for row in listed if row["recipe"] == CGAN] == [False]


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=r"there are no checkpoints in .*latent-train fit"):
            write(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_readme_of_somebodys_own_is_left_alone(root):
    (root / "README.md").write_bytes(b"My notes \xff")
    before = tree(root)
    with pytest.raises(ValueError, match=r"README\.md was not written by .*move it away"):
        write(root)
    assert tree(root) == before


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow over 2 kB, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_what_was_there(root):
    write(root)
    shutil.rmtree(root / CGAN)
    before = tree(root)
    with full_disk(), pytest.raises(OSError, match=re.escape(str(root))):
        write(root)
    assert tree(root) == before
    assert not [path for path in root.iterdir() if path.name.startswith(".")]


def test_a_place_that_is_taken_leaves_the_other_file_as_it_was(root):
    write(root)
    (root / "report.json").unlink()
    (root / "report.json").mkdir()
    shutil.rmtree(root / CGAN)
    before = tree(root)
    with pytest.raises(OSError, match=re.escape(str(root))):
        write(root)
    assert tree(root) == before


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user to whom permissions apply."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_may_not_be_written_is_left_as_it_was(root):
    write(root)
    with tempfile.TemporaryDirectory() as outside:  # pytest's own folders are closed to others
        folder = shutil.copytree(root, Path(outside) / "checkpoints")
        shutil.rmtree(folder / CGAN)
        before = tree(folder)
        Path(outside).chmod(0o755)
        folder.chmod(0o555)
        with unprivileged(), pytest.raises(PermissionError, match=re.escape(str(folder))):
            write(folder)
        folder.chmod(0o755)
        assert tree(folder) == before
