"""The page to draw on: what it tells its components, and the keyboard's ways to a digit."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from streamlit.testing.v1 import AppTest

from explorer import resources
from explorer.live import protocol
from explorer.pages import selection
from explorer.uploads import read_digit
from tests.explorer.conftest import (
    VAE_Z2,
    Open,
    checked,
    conv_vae,
    make_checkpoint,
    settle,
    told,
    words,
)
from training.checkpoint import Checkpoint, load


@pytest.fixture
def open_page(open_app: Open, zoo: Path, mnist_root: Path) -> Open:
    """``open_page(**link)``: a new session on the page."""
    return functools.partial(open_app, "draw", checkpoints=zoo, data=mnist_root)


def drawn() -> bytes:
    """A 1 on paper, as a PNG."""
    image = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(image).line([(50, 10), (50, 90)], fill=0, width=12)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def upload(app: AppTest, blob: bytes) -> AppTest:
    app.file_uploader(key="drawing_file").set_value(("mine.png", blob, "image/png"))
    return checked(app.run())


def take_real(app: AppTest) -> AppTest:
    [button] = [one for one in app.button if one.label == "A real digit"]
    return checked(button.click().run())


def original(app: AppTest) -> dict | None:
    return told(app, "drawing")["original"]


def pixels(app: AppTest, size: int = 28) -> np.ndarray:
    """The image that is shown instead of a drawing."""
    found = told(app, "drawing")["original"]["pixels"]
    return np.frombuffer(base64.b64decode(found), np.uint8).reshape(size, size)


def encoded(opened: Checkpoint, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mu, log_var = opened.encode(torch.from_numpy(image.copy())[None, None].float() / 255)
    return mu[0].numpy(), torch.exp(log_var[0] / 2).numpy()


def text(app: AppTest) -> str:
    return "\n".join(one.value for one in (*app.markdown, *app.caption))


@pytest.mark.parametrize(("model", "d"), [("tiny-vae-z2", 2), ("tiny-vae-z5", 5)])
def test_without_a_drawing_the_pages_latent_is_shown(open_page: Open, model: str, d: int) -> None:
    app = open_page(model=model, z="_".join(["0.5"] * d))
    for key in ("drawing", f"seen_{model}", f"draw_picture_{model}", f"draw_map_{model}"):
        assert told(app, key)["z"] == [0.5] * d
    assert original(app) is None
    shown = told(app, f"draw_map_{model}")
    assert (shown["how"], shown["pointing"]) == ("plane", False)
    assert "The nearest real digits" in text(app)


def test_what_is_drawn_is_remembered_and_linked(open_page: Open) -> None:
    app = open_page(model="tiny-vae-z2")
    before = told(app, "drawing")
    settle(app, "drawing", {"z": [0.12345, -250], "weights": None, "at": 1})
    assert app.session_state["z"] == [0.123, -100], "as far as a link can go"
    assert app.query_params["z"] == "0.123_-100"
    assert told(app, "drawing")["token"] == before["token"], "the page is not told to move"
    assert "Far from every real code" in text(app)


def test_a_click_on_the_map_moves_the_latent(open_page: Open) -> None:
    app = take_real(open_page(model="tiny-vae-z2"))
    settle(app, "draw_map_tiny-vae-z2", {"z": [0.5, 0.25], "weights": None, "selected": 3})
    assert app.session_state["z"] == [0.5, 0.25]
    assert original(app) is None, "the latent is not the image's code any more"


def test_a_picture_can_be_uploaded(open_page: Open, zoo: Path) -> None:
    app = open_page(model="tiny-vae-z5")
    before = told(app, "drawing")["token"]
    upload(app, drawn())
    np.testing.assert_array_equal(pixels(app), read_digit(drawn()))
    mu, sigma = encoded(load(zoo / "tiny-vae-z5"), pixels(app))
    np.testing.assert_allclose(app.session_state["z"], mu, rtol=1e-5)
    np.testing.assert_allclose(told(app, "drawing")["z"], mu, rtol=1e-5)
    np.testing.assert_allclose(told(app, "drawing")["original"]["spread"], sigma, rtol=1e-5)
    assert told(app, "drawing")["token"] != before, "the components follow"
    assert "Instead of a drawing: your picture" in text(app)
    assert not words(app)


def test_a_picture_that_cannot_be_read_becomes_a_sentence(open_page: Open) -> None:
    app = upload(open_page(z="1_1"), b"GIF89a...")
    assert "not a PNG" in app.error[0].value
    assert app.session_state["z"] == [1, 1]
    assert original(app) is None
    upload(app, drawn())
    assert not app.error
    assert original(app) is not None


def test_a_real_digit_at_random(open_page: Open) -> None:
    app = take_real(open_page(model="tiny-vae-z2"))
    codes, labels = resources.codes("tiny-vae-z2")
    z = np.array(app.session_state["z"])
    same = np.flatnonzero(np.abs(codes - z).max(1) < 1e-4)
    images = resources.real_images(resources.models().cards["tiny-vae-z2"])
    assert images
    assert any((images.pixels(int(i))[..., 0] == pixels(app)).all() for i in same)
    assert any(f"a real {labels[i]}, image {i:,}" in text(app) for i in same)
    assert "The nearest code is 0.00 away" in text(app)


def test_another_model_reads_the_same_picture(open_page: Open, zoo: Path) -> None:
    app = upload(open_page(model="tiny-vae-z2"), drawn())
    app.sidebar.selectbox(key="model").set_value("tiny-vae-z5")
    checked(app.run())
    np.testing.assert_array_equal(pixels(app), read_digit(drawn()))
    mu, _ = encoded(load(zoo / "tiny-vae-z5"), pixels(app))
    np.testing.assert_allclose(told(app, "draw_map_tiny-vae-z5")["z"], mu, rtol=1e-5)


def test_a_drawing_takes_the_place_of_a_picture(open_page: Open) -> None:
    app = upload(open_page(model="tiny-vae-z2"), drawn())
    settle(app, "drawing", {"z": [0.1, 0.2], "weights": None, "at": 1})
    assert original(app) is None
    assert "Instead of a drawing" not in text(app)


def test_a_code_far_out_is_still_a_code(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_page(model="tiny-vae-z2")
    far = torch.tensor([[1e6, -1e6]])
    monkeypatch.setattr(Checkpoint, "encode", lambda *_: (far, torch.zeros(1, 2)))
    upload(app, drawn())
    assert app.session_state["z"] == [100, -100]
    assert original(app) is not None


def test_without_a_socket_a_drawing_comes_through_streamlit(open_page: Open, zoo: Path) -> None:
    app = open_page(model="tiny-vae-z2")
    ink = np.zeros((112, 112), np.uint8)
    ink[20:90, 50:60] = 255
    frame = protocol.pack_request(protocol.Drawing(4, 1, "tiny-vae-z2", ink))
    settle(app, "drawing", base64.b64encode(frame).decode(), state="ask")
    reply = told(app, "drawing")["reply"]
    answer = protocol.unpack_answer(base64.b64decode(reply["answer"]))
    assert (answer.id, answer.kind) == (4, protocol.Kind.CODE)
    mu, _ = encoded(load(zoo / "tiny-vae-z2"), answer.pixels[0, :, :, 0])
    np.testing.assert_allclose(answer.mu, mu, rtol=1e-5, atol=1e-6)


def test_models_of_other_images_are_drawn_for_where_they_are_grey_squares(
    open_page: Open, tmp_path: Path
) -> None:
    make_checkpoint(tmp_path / "colour", conv_vae(2, (4,), 4, (3, 16, 16)))
    make_checkpoint(tmp_path / "small", conv_vae(2, (4,), 4, (1, 16, 16)))
    app = open_page(checkpoints=tmp_path, model="colour")
    assert "other pictures than grey squares" in words(app)
    app = open_page(checkpoints=tmp_path, model="small")
    assert not words(app)
    upload(app, drawn())
    assert pixels(app, size=16).max() > 200
    assert "A real digit" not in [one.label for one in app.button]
    assert "nearest" not in text(app), "it has no codes of real images"


def test_a_picture_of_another_size_stays_with_its_model(open_page: Open, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "large", VAE_Z2)
    make_checkpoint(tmp_path / "small", conv_vae(2, (4,), 4, (1, 16, 16)))
    app = upload(open_page(checkpoints=tmp_path, model="large"), drawn())
    app.sidebar.selectbox(key="model").set_value("small")
    checked(app.run())
    assert original(app) is None


def test_how_near_is_told_in_words() -> None:
    near = selection.how_near(0.01, 1234, 0.06, "digits")
    assert "0.01 away. 1,234 lie within 0.06" in near
    assert "Far" not in near
    far = selection.how_near(12.3, 0, 0.06, "images")
    assert "**Far from every real code**: the nearest is 12.30 away" in far
    assert "half of the real images" in far
