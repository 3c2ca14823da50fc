"""Links: every key goes out and comes back, and what cannot be read is left out and named."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.directions import Kept
from explorer.links import KEYS, PAGE_KEYS, read_floats, write_floats

GOOD: dict[str, list[tuple[Any, str | None]]] = {
    "model": [("mnist-conv-vae-z2", "mnist-conv-vae-z2"), ("A.b_c-9", "A.b_c-9")],
    "seed": [(1, "1"), (2**31 - 1, "2147483647")],
    "z": [([0.5, -1.25, 0.0, 3.0], "0.5_-1.25_0_3"), ([10.0], "10"), ([-0.001] * 128, None)],
    "class": [(9, "9"), (999, "999")],
    "selected": [("test-0", "test-0"), ("sample-4999", "sample-4999"), ("folder-7", "folder-7")],
    "plane": [("umap", "umap")],
    "grid": [(True, "1")],
    "a": [
        ("test-9999", "test-9999"),
        ("sample-12", "sample-12"),
        ("seed-999999999", "seed-999999999"),
        ("code-0.5_-1.25", "code-0.5_-1.25"),
        ("code-" + "_".join(["-10.123"] * 64), None),
    ],
    "frames": [(3, "3"), (21, "21")],
    "path": [("spherical", "spherical")],
    "at": [(0.333, "0.333"), (1.0, "1.000")],
    "text": [("7", "7"), ("000000000000", "000000000000"), ("", ""), ("7a", "7a")],
    "from": [(0, "0"), (9, "9")],
    "to": [(0, "0"), (9, "9")],
    "report": [("R3", "R3"), ("R5", "R5")],
    "row": [("mnist-cgan", "mnist-cgan"), ("A.b_c-9", "A.b_c-9")],
    "epoch": [(3, "3"), (100_000, "100000")],
    "run": [("mnist-cgan", "mnist-cgan"), ("A.b_c-9", "A.b_c-9")],
    "family": [(["vae"], "vae"), (["vae", "wgan-gp"], "vae~wgan-gp")],
    "data": [(["mnist"], "mnist"), (["stacked-mnist", "my_photos 2"], "stacked-mnist~my_photos 2")],
    "reports": [(["R1"], "R1"), (["R5", "own", "brought"], "R5~own~brought")],
    "find": [("dense z=2", "dense z=2"), ("Ünï-1.5", "Ünï-1.5"), ("", "")],
    "sort": [("score", "score"), ("latents", "latents")],
}
GOOD["lesson"] = [("blur", "blur"), ("plane", "plane")]
GOOD["step"] = [(2, "2"), (9, "9")]
GOOD["said"] = [
    ({"blur": "02x-1"}, "blur.02x-1"),
    ({"blur": "3", "plane": "-------x"}, "blur.3~plane.-------x"),
    (dict.fromkeys("abcdefgh", "0"), None),
]
GOOD["present"] = [(True, "1")]
GOOD["points"] = [
    ([(0.5, -0.25)], "0.5_-0.25"),
    ([(0.0, 1.0), (-1.0, 0.125)], "0_1~-1_0.125"),
    ([(0.25, 0.25)] * 32, None),
]
GOOD["with"] = [(["mnist-cgan"], "mnist-cgan"), (["a", "A.b_c-9"], "a~A.b_c-9")]
GOOD["drive"] = [("z", "z")]
GOOD["along"] = [("principal", "principal"), ("own", "own")]
GOOD["dirs"] = [
    ([Kept("3 to 8", "classes", classes=(3, 8))], "3 to 8!c3-8"),
    (
        [Kept("dick", "groups", vector=(0.5, -1.0)), Kept("größer", "file", vector=(3.0,))],
        "dick!g0.5_-1~größer!f3",
    ),
    ([Kept("long", "groups", vector=(-1.125,) * 128)], None),
]
GOOD["b"] = GOOD["a"]

INJECTIONS = [
    "",
    " ",
    "<script>alert(1)</script>",
    "[click](https://example.com)",
    "![](https://example.com/x.png)",
    "'; drop table models; --",
    "../../etc/passwd",
    "\0",
    "1\n2",
    "٣",
    "9" * 5000,
    "a" * 100_000,
]
BAD: dict[str, list[str]] = {
    "model": ["", "a b", "../up", "a/b", "ü", "x" * 101],
    "seed": ["-1", str(2**31), "1.5", "one", "1e3", "0x10", "1_0", "+1"],
    "z": ["", "_", "1__2", "a", "nan", "1_inf", "-inf", "1e30", "1001", "_".join(["0"] * 4097)],
    "class": ["-1", "1000", "two"],
    "selected": ["", "test", "test-", "test--1", "test-1234567", "train-1", "seed-1"],
    "plane": ["", "UMAP", "tsne"],
    "grid": ["2", "-1", "yes", "True"],
    "a": [
        "",
        "test-x",
        "seed-",
        "seed--1",
        "seed-1234567890",
        "photo-1",
        "code-",
        "code-.",
        "code-1__2",
        "code--",
        "code-1_2001",
        "code-nan",
    ],
    "frames": ["2", "22", "0", "-9", "9.0"],
    "path": ["", "Linear", "curved", "linear|spherical"],
    "at": ["-0.1", "1.1", "nan", "inf", "half"],
    "text": ["1" * 13, "7\n"],
    "from": ["-1", "1000", "x"],
    "to": ["-1", "1000", "x"],
    "report": ["", "R0", "R6", "r1", "R12", "3"],
    "row": ["", "a b", "../up", "a/b", "ü", "x" * 101],
    "epoch": ["0", "-1", "1.5", "100001", "last"],
    "run": ["", "a b", "../up", "a/b", "ü", "x" * 101],
    "family": ["", "VAE", "vae~", "~vae", "v_e", "v" * 21, "~".join(["vae"] * 21)],
    "data": ["", "~", "a~", "a/b", "-a", "ü", "x" * 41, "~".join(["a"] * 21)],
    "reports": ["", "R6", "R1~R9", "Own", "R1,R2", "~".join(["R1"] * 21)],
    "find": ["<b>", "a/b", "x" * 41, "a\n"],
    "sort": ["", "First", "best", "name|size"],
}
BAD["lesson"] = ["", "Blur", "blur2", "a b", "../up", "ü", "x" * 21]
BAD["step"] = ["0", "-1", "10", "1.5", "last"]
BAD["points"] = ["", "0.5", "0.5_", "1_2_3", "1.01_0", "0_-2", "nan_0", "~", "~".join(["0_0"] * 33)]
BAD["said"] = [
    "",
    "~",
    "blur",
    "blur.",
    ".0",
    "blur.4",
    "blur.0-",
    "blur.-",
    "blur.012301230",
    "blur.0~",
    "blur.0~blur.1",
    "Blur.0",
    "x" * 21 + ".0",
    "~".join(f"{letter}.0" for letter in "abcdefghi"),
]
BAD["present"] = ["2", "-1", "yes", "True"]
BAD["with"] = ["", "a~", "a b", "../up", "ü", "x" * 101, "~".join(["a"] * 21)]
BAD["drive"] = ["", "Image", "z|image"]
BAD["along"] = ["", "Own", "dimensions|own", "all"]
BAD["dirs"] = [
    "",
    "~",
    "a",
    "a!",
    "!c1-2",
    "a!c1",
    "a!c1-1000",
    "a!c-1-2",
    "a!x1_2",
    "a!gnan",
    "a!g1__2",
    "a!g101",
    "a!g" + "_".join(["0"] * 129),
    "<b>!c1-2",
    "x" * 25 + "!c1-2",
    "a!c1-2~a!c3-4",
    "~".join(f"{i}!c1-2" for i in range(9)),
]
BAD["b"] = BAD["a"]

BAD_CASES = [(name, text) for name, texts in BAD.items() for text in texts]
INJECTION_CASES = [
    (name, text)
    for name in KEYS
    for text in INJECTIONS
    if not (name in ("text", "find") and len(text) <= 1)
]


def script() -> None:
    import streamlit as st

    from explorer import links

    links.restore()
    for problem in st.session_state["link_problems"]:
        st.warning(problem)
    if page := st.session_state.get("publish"):
        links.follow(page)
        if st.session_state.get("cut off"):
            st.stop()
        links.publish(page)


def follow(**link: str) -> AppTest:
    """A session that starts at a link."""
    app = AppTest.from_function(script)
    app.query_params.update(link)
    app.run()
    assert not app.exception
    return app


def written(app: AppTest, page: str) -> dict[str, Any]:
    """The URL of a page that was entered by a link of the app, after it has published its state."""
    if "published" in app.session_state:
        app.query_params.clear()
    app.session_state["publish"] = page
    app.run()
    assert not app.exception
    return dict(app.query_params)


def test_every_key_has_examples() -> None:
    assert GOOD.keys() == BAD.keys() == KEYS.keys()


def test_every_key_of_a_page_exists() -> None:
    assert {name for names in PAGE_KEYS.values() for name in names} <= KEYS.keys()


@pytest.mark.parametrize(
    ("name", "value", "text"), [(name, *pair) for name, pairs in GOOD.items() for pair in pairs]
)
def test_a_value_goes_out_and_comes_back(name: str, value: Any, text: str | None) -> None:
    key = KEYS[name]
    assert text is None or key.write(value) == text
    assert key.read(key.write(value)) == value


def test_latents_keep_three_decimals() -> None:
    assert write_floats([0.12345, -9.9996, 0, 1 / 3]) == "0.123_-10_0_0.333"
    assert read_floats("0.123_-10_0_0.333") == [0.123, -10, 0, 0.333]


def test_a_vector_too_long_for_a_link_leaves_its_name() -> None:
    long = Kept("mine", "file", vector=(1.0,) * 129)
    assert KEYS["dirs"].write([long]) == "mine!f"
    assert KEYS["dirs"].read("mine!f") == [Kept("mine", "file")]


@pytest.mark.parametrize(("name", "text"), BAD_CASES)
def test_a_value_out_of_range_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        KEYS[name].read(text)


@pytest.mark.parametrize(("name", "text"), INJECTION_CASES)
def test_text_from_outside_is_refused_and_never_repeated(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="wanted") as caught:
        KEYS[name].read(text)
    assert len(text) < 2 or text not in str(caught.value)


def test_what_is_searched_for_goes_into_a_link_as_far_as_links_may_hold_it() -> None:
    for typed, text in (("a <b> [c]", "a b c"), ("<>", ""), ("x" * 99, "x" * 40), ("a\nb", "ab")):
        assert KEYS["find"].write(typed) == text
        assert KEYS["find"].read(text) == text


def test_no_two_sessions_share_a_list() -> None:
    first = follow()
    assert first.session_state["family"] == []
    assert first.session_state["family"] is not KEYS["family"].default


def test_a_silent_link_gives_every_key_its_default() -> None:
    app = follow()
    assert {name: app.session_state[name] for name in KEYS} == {
        name: key.default for name, key in KEYS.items()
    }
    assert not app.warning


def test_a_link_is_taken_into_the_session() -> None:
    link = {name: key.write(GOOD[name][0][0]) for name, key in KEYS.items()}
    app = follow(**link)
    assert not app.warning
    assert {name: app.session_state[name] for name in KEYS} == {
        name: GOOD[name][0][0] for name in KEYS
    }


def test_a_bad_link_is_used_as_far_as_it_goes_and_says_what_it_left_out() -> None:
    app = follow(
        seed="12", frames="99", path="<b>bold</b>", z="1_2", at="nan", unknown="1", a="test-4"
    )
    assert app.session_state["seed"] == 12
    assert app.session_state["z"] == [1, 2]
    assert app.session_state["a"] == "test-4"
    assert (app.session_state["frames"], app.session_state["path"]) == (9, "")
    assert app.session_state["at"] == 0
    words = [warning.value for warning in app.warning]
    assert [word.split()[0] for word in words] == ["frames", "path", "at"]
    assert not any("bold" in word for word in words)


def test_a_link_is_read_once_so_that_reruns_keep_what_the_user_did() -> None:
    app = follow(seed="12")
    app.session_state["seed"] = 13
    app.run()
    assert app.session_state["seed"] == 13


def test_a_page_writes_what_differs_from_the_default_and_nothing_else() -> None:
    app = follow(seed="12", frames="9", path="spherical", z="1_2", model="tiny")
    assert written(app, "map") == {"model": "tiny", "z": "1_2", "seed": "12"}
    assert written(app, "morph") == {"model": "tiny", "path": "spherical"}


@pytest.mark.parametrize("page", PAGE_KEYS)
def test_a_pages_link_restores_its_state(page: str) -> None:
    first = follow()
    for name in PAGE_KEYS[page]:
        first.session_state[name] = GOOD[name][0][0]
    second = follow(**written(first, page))
    assert not second.warning
    for name in PAGE_KEYS[page]:
        assert second.session_state[name] == GOOD[name][0][0]


def go_to(app: AppTest, page: str, **link: str) -> None:
    """Back or forward in the browser, once it knows what was published."""
    app.session_state["published"] = replace(app.session_state["published"], at=0.0)
    app.query_params = dict(link)
    app.session_state["publish"] = page
    app.run()
    assert not app.exception


def test_back_and_forward_take_everything_from_the_url_but_predictions() -> None:
    app = follow(lesson="blur", step="2", said="blur.0")
    written(app, "lessons")
    for step, present, said in ((3, True, "01"), (4, False, "01x")):
        app.session_state["step"], app.session_state["present"] = step, present
        app.session_state["said"] = {"blur": said}
        app.run()
    assert dict(app.query_params) == {"lesson": "blur", "step": "4", "said": "blur.01x"}
    link = {"lesson": "blur", "step": "3", "said": "blur.01", "present": "1"}
    go_to(app, "lessons", **link)
    assert (app.session_state["step"], app.session_state["present"]) == (3, True)
    assert app.session_state["said"] == {"blur": "01x"}, "nobody's predictions are forgotten"
    assert dict(app.query_params) == link, "another entry would end the way forward"
    go_to(app, "lessons", lesson="blur", step="99")
    assert (app.session_state["step"], app.session_state["present"]) == (1, False)


def test_back_undoes_what_was_settled_on_step_by_step() -> None:
    app = follow()
    written(app, "sliders")
    for z in ([1.0, 2.0], [3.0, 4.0]):
        app.session_state["z"] = z
        app.run()
    assert dict(app.query_params) == {"z": "3_4"}
    go_to(app, "sliders", z="1_2")
    assert app.session_state["z"] == [1, 2]
    app.run()
    assert app.session_state["z"] == [1, 2], "still, whatever makes the page run again"
    go_to(app, "sliders")
    assert app.session_state["z"] is None
    assert dict(app.query_params) == {}, "one more step leaves the page"
    app.session_state["z"] = [5.0, 6.0]
    app.run()
    assert dict(app.query_params) == {"z": "5_6"}


def test_back_twice_at_once_goes_two_steps_back() -> None:
    """Nothing is on its way to a browser whose URL was followed, however short ago that was."""
    app = follow()
    written(app, "sliders")
    for z in ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]):
        app.session_state["z"] = z
        app.run()
    go_to(app, "sliders", z="3_4")
    app.query_params = {"z": "1_2"}
    app.run()
    assert app.session_state["z"] == [1, 2]
    assert dict(app.query_params) == {"z": "1_2"}


def test_back_to_another_page_restores_what_it_showed() -> None:
    app = follow(z="1_2")
    written(app, "map")
    assert written(app, "sliders") == {"z": "1_2"}
    app.session_state["z"] = [3.0, 4.0]
    app.run()
    go_to(app, "map", z="1_2")
    assert app.session_state["z"] == [1, 2]


def test_back_to_the_bare_address_of_a_page_keeps_what_it_was_entered_with() -> None:
    """A link of the sidebar is an entry of its own, before the one that the page publishes."""
    app = follow(model="tiny", seed="5")
    written(app, "sliders")
    app.query_params = {}
    assert written(app, "digits") == {"model": "tiny", "seed": "5"}
    app.session_state["text"] = "7"
    app.run()
    go_to(app, "digits", model="tiny", seed="5")
    assert app.session_state["text"] == "2026"
    for _ in range(2):  # still, whatever makes the page run again
        go_to(app, "digits")
        assert (app.session_state["model"], app.session_state["seed"]) == ("tiny", 5)
        assert dict(app.query_params) == {}, "another entry would end the way forward"
    app.query_params = {}
    assert written(app, "sliders") == {"model": "tiny", "seed": "5"}


@pytest.mark.parametrize("times", [1, 2])
def test_a_page_left_before_it_was_drawn_undoes_nothing(times: int) -> None:
    app = follow(z="1_2")
    written(app, "sliders")
    app.session_state["z"] = [3.0, 4.0]
    app.run()
    app.session_state["published"] = replace(app.session_state["published"], at=0.0)
    app.session_state["cut off"] = True
    for _ in range(times):
        written(app, "map")  # whose URL is never written
    app.session_state["cut off"] = False
    assert written(app, "sliders") == {"z": "3_4"}
    assert app.session_state["z"] == [3, 4]


def test_a_page_that_was_cut_off_is_drawn_as_it_was_entered() -> None:
    app = follow(z="1_2")
    written(app, "sliders")
    app.session_state["published"] = replace(app.session_state["published"], at=0.0)
    app.session_state["cut off"] = True
    written(app, "map")
    app.session_state["cut off"] = False
    assert written(app, "map") == {"z": "1_2"}


def test_a_browser_that_has_not_heard_of_the_new_url_undoes_nothing() -> None:
    app = follow(z="1_2")
    written(app, "sliders")
    app.session_state["z"] = [3.0, 4.0]
    app.run()
    app.session_state["published"] = replace(app.session_state["published"], at=math.inf)
    app.query_params = {"z": "1_2"}
    app.run()
    assert app.session_state["z"] == [3, 4]
    assert dict(app.query_params) == {"z": "3_4"}


def test_what_was_done_since_is_newer_than_the_url() -> None:
    app = follow(lesson="blur", step="2")
    written(app, "lessons")
    app.query_params = {"lesson": "blur"}
    app.session_state["step"] = 5
    app.run()
    assert app.session_state["step"] == 5
    assert app.query_params["step"] == "5"


def test_another_pages_url_is_not_followed() -> None:
    app = follow(lesson="blur", step="2")
    written(app, "lessons")
    written(app, "map")
    app.query_params = {}
    assert written(app, "lessons") == {"lesson": "blur", "step": "2"}
