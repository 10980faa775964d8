"""A headless browser for the tests of the page, and drawing with its mouse."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str | None:
    """Return the path of Chromium or Chrome, or None if neither is installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser. Yields the Browser object of Playwright."""
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox does not work for root, the user of many containers.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=program(), args=options)
        try:
            yield instance
        finally:
            instance.close()


def draw(page: Any, *strokes: list[tuple[float, float]]) -> None:
    """Draw strokes with the mouse. Coordinates are from (0, 0), upper left, to (1, 1), lower right."""
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
