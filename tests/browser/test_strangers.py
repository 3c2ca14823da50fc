"""A stranger's checkpoint, whose words are drawn as words and nothing else, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server, wait_run
from tests.browser.test_app import address
from tests.explorer.conftest import CGAN, make_checkpoint
from training.watch import free_port

ADDRESSES = "www.evil.example, a+b@evil.example (HTTPS://evil.example/a_b) http://evil.example:80/"
TITLE = f"Seen at {ADDRESSES}"


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a conditional GAN whose card has addresses and markup wherever it has words."""
    root = tmp_path_factory.mktemp("strange")
    changes = {"title": TITLE, "notes": ADDRESSES, "device": ADDRESSES}
    make_checkpoint(root / "strange", CGAN, **changes)
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
