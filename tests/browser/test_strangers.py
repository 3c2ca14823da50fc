"""A stranger's checkpoint, whose words are drawn as words and nothing else, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server, wait_run
from tests.browser.test_app import address
from tests.explorer.conftest import CGAN, atlas_of_samples, make_checkpoint
from training.watch import free_port

ADDRESSES = "www.evil.example, a+b@evil.example (HTTPS://evil.example/a_b) http://evil.example:80/"
TITLE = f"Seen at {ADDRESSES}"
IMAGE = "![seen](/media/seen.png)"
BOLD = "<b>one</b>"
CLASSES = (IMAGE, BOLD, "**two**", *"3456789")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a conditional GAN whose card has addresses and markup wherever it has words."""
    root = tmp_path_factory.mktemp("strange")
    words = {"title": TITLE, "notes": ADDRESSES, "device": ADDRESSES, "classes": CLASSES}
    make_checkpoint(root / "strange", CGAN, atlas=atlas_of_samples(300), **words)
    one = Server(free_port(), ["--checkpoints", str(root)])
    one.start()
    yield one
    one.stop()


@pytest.mark.parametrize("path", ["", "sliders"])
def test_no_address_becomes_a_link(page: Page, strange: Server, path: str) -> None:
    page.goto(address(strange, path))
    expect(page.get_by_text("evil.example").first).to_be_visible()
    wait_run(page)
    assert page.locator("a[href*=evil]").count() == 0
    assert "a+b@evil.example" in page.locator("body").inner_text()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("digits", {"from": 0, "to": 2}),
        ("map", {"selected": "drawn-0"}),
        ("morph", {"from": 0, "to": 2}),
    ],
)
def test_the_name_of_a_class_is_no_markup(
    page: Page, strange: Server, path: str, query: dict[str, object]
) -> None:
    page.goto(address(strange, path, **query))
    expect(page.locator("[data-testid=stMain]").get_by_text(IMAGE).first).to_be_visible()
    wait_run(page)
    assert page.locator("img[alt=seen]").count() == 0
    assert page.locator("strong", has_text="two").count() == 0


def test_the_legend_of_the_map_shows_the_name_of_a_class_as_it_is(
    page: Page, strange: Server
) -> None:
    page.goto(address(strange, "map"))
    page.locator("[data-testid=latent-map][data-ready=true]").wait_for()
    names = page.get_by_test_id("latent-map").locator(".legendtext")
    expect(names).to_have_text(CLASSES)
