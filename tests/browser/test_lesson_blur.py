"""The lessons on blur and beta in a real browser: live under the hand, and by keyboard."""

from __future__ import annotations

import re

import numpy as np
import torch
from playwright.sync_api import Page, expect

from explorer import latent, settings
from explorer.pages.lesson_beta_more import SAMPLES
from tests.browser.conftest import Server, wait_run, wait_shown
from training.checkpoint import load

BETAS = [f"mnist-beta-vae-{value}" for value in ("0.1", "1", "4", "10")]
SEED = 5


def open_step(page: Page, server: Server, lesson: str, step: int) -> None:
    page.goto(f"{server.url}/lessons?lesson={lesson}&step={step}&seed={SEED}")
    wait_run(page)


def wait_drawn(page: Page, testid: str, model: str, z: np.ndarray) -> None:
    """Wait until a canvas shows what a model draws of z (d,)."""
    opened = load(settings.checkpoints_dir() / model)
    wanted = (opened.decode(torch.from_numpy(z)[None])[0, 0] * 255).round().numpy()
    canvas = page.get_by_test_id(testid).last  # while a rerun replaces one, there are two
    canvas.wait_for()
    wait_shown(canvas, wanted)


def shares(page: Page) -> list[float]:
    """The sharpness under each of the six pictures, as it is told."""
    told = page.get_by_text(re.compile(r"^Sharpness [0-9.]+$"))
    expect(told).to_have_count(6)
    return [float(text.split()[1]) for text in told.all_inner_texts()]


def test_samples_follow_beta_before_the_mouse_is_released(page: Page, server: Server) -> None:
    open_step(page, server, "beta", 5)
    page.get_by_text("Above 1", exact=True).first.click()
    z = latent.sample_z(SEED, SAMPLES * 10).reshape(SAMPLES, 10)
    wait_drawn(page, "sample-3", BETAS[0], z[3])
    scrub = page.get_by_test_id("epoch-scrub")
    scrub.scroll_into_view_if_needed()
    expect(scrub).to_have_attribute("aria-label", "Beta")
    box = scrub.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    for i in (1, 3, 2):
        along = 8 + (box["width"] - 16) * i / 3
        page.mouse.move(box["x"] + along, box["y"] + box["height"] / 2)
        wait_drawn(page, "sample-3", BETAS[i], z[3])
        wait_drawn(page, f"sample-{SAMPLES - 1}", BETAS[i], z[-1])
    page.mouse.up()


def test_the_open_step_of_beta_goes_by_keyboard(page: Page, server: Server) -> None:
    open_step(page, server, "beta", 6)
    z = latent.sample_z(SEED, 10)
    wait_drawn(page, "live-image", BETAS[0], z)
    page.get_by_test_id("epoch-scrub").focus()
    for key, i in (("ArrowRight", 1), ("End", 3)):
        page.keyboard.press(key)
        wait_drawn(page, "live-image", BETAS[i], z)
    expect(page.get_by_text("carries nothing").first).to_be_visible()
    expect(page.get_by_text("5 of 10 numbers in use")).to_be_visible()
    wait_run(page)
    wait_drawn(page, "live-image", BETAS[3], z)  # still, after the rerun


def test_an_image_and_how_many_are_averaged_are_chosen_by_keyboard(
    page: Page, server: Server
) -> None:
    open_step(page, server, "blur", 8)
    page.get_by_text(re.compile("^mean of 20 real$")).wait_for()
    wait_run(page)
    before = shares(page)
    assert before[0] == 1
    page.get_by_role("slider", name="Real images averaged").focus()
    page.keyboard.press("End")
    page.get_by_text(re.compile("^mean of 200 real$")).wait_for()
    wait_run(page)
    assert shares(page)[:5] == before[:5]
    assert shares(page)[5] < before[5]
    page.get_by_role("button", name="Choose an image").focus()
    page.keyboard.press("Enter")
    page.get_by_test_id("thumbnail-2").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"selected=(test|sample)-\d+"))
    expect(page.get_by_text(re.compile(r"^Image [\d,]+, a real 0\.$"))).to_be_visible()
    link = page.url
    wait_run(page)
    after = page.get_by_text(re.compile(r"Of image")).inner_text()
    page.goto("about:blank")
    page.goto(link)
    expect(page.get_by_text(re.compile(r"^Image [\d,]+, a real 0\.$"))).to_be_visible()
    again = page.get_by_text(re.compile(r"Of image")).inner_text()
    assert again.split(",")[0] == after.split(",")[0]
