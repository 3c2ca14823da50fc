"""The lesson on mode collapse in a real browser: what moves under the hand, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from playwright.sync_api import Page

from explorer import latent, settings
from explorer.lessons import digits
from explorer.pages.lesson_digits_epochs import SAMPLES
from tests.browser.conftest import (
    Server,
    canvas_of,
    settled_pixels,
    wait_narrow,
    wait_other,
    wait_run,
    wait_shown,
)
from tests.browser.test_app import address
from training.checkpoint import load

STEPS = [step.name for step in digits.LESSON.steps]


def open_step(page: Page, server: Server, name: str) -> None:
    """Follow a link to a step and predict whatever comes first."""
    step = digits.LESSON.steps[STEPS.index(name)]
    page.goto(address(server, "lessons", lesson="digits", step=STEPS.index(name) + 1))
    if step.options:
        page.get_by_text(step.options[0], exact=True).first.click()


def drawn(name: str, z: np.ndarray, epoch: int | None = None) -> np.ndarray:
    """What a shipped model draws of z (n, d), in grey levels (n, H, W)."""
    opened = load(settings.checkpoints_dir() / name, epoch=epoch)
    return (opened.decode(torch.from_numpy(z))[:, 0] * 255).round().numpy()


def test_one_slider_moves_all_numbers_and_the_collapsed_picture_stays(
    page: Page, server: Server
) -> None:
    open_step(page, server, "drag")
    slider = page.get_by_test_id("latent-slider-all")
    live = [page.get_by_test_id("live-image").nth(i) for i in range(len(digits.CAST))]
    start = latent.sample_z(0, 100)[None]
    for name, one in zip(digits.CAST, live, strict=True):
        wait_shown(one, drawn(name, start)[0])
    before = [settled_pixels(one) for one in live]
    slider.focus()
    slider.press("End")
    for one, old in zip(live[1:], before[1:], strict=True):
        wait_other(one, old, 100)
    after = [settled_pixels(one) for one in live]
    moved = [np.abs(b - a).mean() for a, b in zip(before, after, strict=True)]
    assert moved[0] < 1
    assert min(moved[1:]) > 10
    for name, shown in zip(digits.CAST, after, strict=True):
        wanted = drawn(name, latent.sample_z(1, 100)[None])[0]
        assert np.abs(shown - wanted).mean() < 1  # the slider has steps of a hundredth


def test_both_trainings_follow_one_scrubber(page: Page, server: Server) -> None:
    open_step(page, server, "epochs")
    z = latent.sample_z(0, SAMPLES * 100).reshape(SAMPLES, 100)
    scrub = page.get_by_test_id("epoch-scrub")
    scrub.focus()
    for epoch in (1, 3):
        if epoch > 1:
            scrub.press("ArrowRight")
            scrub.press("ArrowRight")
        for name in (digits.COLLAPSED, digits.HEALTHY):
            wanted = drawn(name, z, epoch)
            for i in (0, SAMPLES - 1):
                wait_shown(canvas_of(page, f"{name}-{i}"), wanted[i])


@pytest.mark.parametrize("step", ["sheets", "alike", "classes", "scores", "open"])
def test_a_link_opens_a_step_that_fits_a_phone_and_tells_its_pictures(
    page: Page, server: Server, step: str
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_step(page, server, step)
    page.locator("[data-testid=stImage] img").first.wait_for()
    wait_run(page)
    wait_narrow(page, 390)
    alts = [one.get_attribute("alt") for one in page.locator("[data-testid=stImage] img").all()]
    assert alts
    assert all(alts)
