"""The map under fingers: one moves the point, a tap selects, two move the map."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, expect

from explorer import settings
from tests.browser.conftest import TIMEOUT_MS, Server, canvas_of, wait_run, wait_shown
from tests.browser.test_app import address, grey, z_in_link
from tests.browser.test_maps import PLACE
from training.checkpoint import load

PLANE = "mnist-dense-vae-h512-z2"
PHONE = ViewportSize(width=390, height=844)
RANGES = """() => {
  const { xaxis, yaxis } = document.querySelector(".js-plotly-plot")._fullLayout;
  return [...xaxis.range, ...yaxis.range];
}"""
"""What the map's axes show: left, right, bottom, top."""


@dataclass
class Hand:
    """Fingers on the map; places are shares of its width and height."""

    page: Page
    touches: CDPSession

    def at(self, share: Sequence[float]) -> tuple[float, float]:
        """A place in CSS pixels of the screen."""
        box = self.page.get_by_test_id("latent-map").bounding_box()
        assert box is not None
        return box["x"] + box["width"] * share[0], box["y"] + box["height"] * share[1]

    def send(self, kind: str, *shares: Sequence[float]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(map(self.at, shares))]
        self.touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def place(self, share: Sequence[float]) -> list[float]:
        """What the plane's coordinates are there."""
        return self.page.evaluate(PLACE, list(self.at(share)))


@pytest.fixture
def hand(chromium: Browser, server: Server) -> Iterator[Hand]:
    """The map of a plane on a phone."""
    with chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True) as context:
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto(address(server, "map", model=PLANE, z="0.5_-0.5"))
        page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
        wait_run(page)
        page.get_by_test_id("latent-map").scroll_into_view_if_needed()
        yield Hand(page, context.new_cdp_session(page))


def test_one_finger_moves_the_point_and_not_the_map(hand: Hand) -> None:
    before = hand.page.evaluate(RANGES)
    image = canvas_of(hand.page, "live-image")
    vae = load(settings.checkpoints_dir() / PLANE)
    hand.send("touchStart", (0.3, 0.3))
    for share in ((0.4, 0.35), (0.5, 0.4), (0.6, 0.5)):
        hand.send("touchMove", share)
        wait_shown(image, grey(vae, hand.place(share)))
    hand.send("touchEnd")
    hand.page.wait_for_url(lambda url: "z=0.5_-0.5" not in url)
    np.testing.assert_allclose(z_in_link(hand.page), hand.place((0.6, 0.5)), atol=2e-3)
    assert "selected" not in hand.page.url
    np.testing.assert_allclose(hand.page.evaluate(RANGES), before)


def test_the_picture_stays_in_view_under_the_finger(hand: Hand) -> None:
    picture, pad = (
        hand.page.get_by_test_id(name).bounding_box() for name in ("live-image", "latent-map")
    )
    assert picture is not None
    assert pad is not None
    assert picture["y"] >= 0
    assert picture["y"] + picture["height"] <= pad["y"]
    assert pad["y"] + pad["height"] <= PHONE["height"] + 1


def test_a_tap_selects_the_nearest_image(hand: Hand) -> None:
    place = hand.place((0.5, 0.4))
    hand.send("touchStart", (0.5, 0.4))
    hand.send("touchEnd")
    hand.page.wait_for_url(re.compile(r"selected=(test|sample)-\d+"))
    np.testing.assert_allclose(z_in_link(hand.page), place, atol=0.02)  # at a whole pixel
    expect(hand.page.get_by_test_id("map-marks").locator("circle.selected")).to_have_count(1)


def test_two_fingers_move_the_map(hand: Hand) -> None:
    before = hand.page.evaluate(RANGES)
    link = hand.page.url
    hand.send("touchStart", (0.4, 0.4))
    hand.send("touchStart", (0.4, 0.4), (0.6, 0.4))
    for down in (0.45, 0.5, 0.55):
        hand.send("touchMove", (0.4, down), (0.6, down))
    hand.send("touchEnd")
    hand.page.wait_for_function(
        f"before => ({RANGES})().some((end, i) => Math.abs(end - before[i]) > 0.1)", arg=before
    )
    wait_run(hand.page)
    assert hand.page.url == link
