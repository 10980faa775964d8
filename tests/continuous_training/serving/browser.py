"""A real browser without a window, and what else the tests of the page look at it with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str | None:
    """Find Chromium or Chrome on this machine."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser; yields Playwright's handle of it."""
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses root, which is who runs inside a container.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program(), args=options)
        try:
            yield started
        finally:
            started.close()


def draw(page: Any, *strokes: list[tuple[float, float]]) -> None:
    """Draw on the page's board with the mouse: strokes of points from (0, 0), upper left, to (1, 1)."""
    page.locator(".board canvas").scroll_into_view_if_needed()
    box = page.locator(".board canvas").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()


SEVEN = [(0.22, 0.18), (0.75, 0.18), (0.6, 0.45), (0.42, 0.85)]
ONE = [(0.5, 0.1), (0.5, 0.9)]
