"""Create the picture of docs/trying.md: python -m tests.continuous_training.serving.screenshot FILE.png."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from browser import SEVEN, browser, draw
from PIL import Image
from workload_archives import workload_archive

from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient

VIEW = {"width": 1120, "height": 800}


def main(output: Path) -> None:
    """Serve mnist and diabetes, and save screenshots of both pages in one picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        endpoint = ServerClient(daemon.start(folder / "state", 0))
        try:
            for workload, values in (("mnist", {"epochs": "5"}), ("diabetes", {})):
                archive = workload_archive(workload, folder / workload, **values)
                endpoint.load(workload, archive.path, archive.digest)
            with browser() as chromium:
                pictures = [
                    _mnist(chromium, endpoint.running.url),
                    _diabetes(chromium, endpoint.running.url),
                ]
        finally:
            daemon.stop(folder / "state")
    combined = Image.new("RGB", (VIEW["width"], sum(picture.height for picture in pictures)))
    top = 0
    for picture in pictures:
        combined.paste(picture, (0, top))
        top += picture.height
    combined.quantize(128).save(output, optimize=True)


def _mnist(chromium: Any, url: str) -> Image.Image:
    page = _page(chromium, f"{url}/#mnist", "light")
    with page.expect_response("**/predict/**"):
        draw(page, SEVEN)
    # Send it again: the first picture takes longer, because the server loads the decoder.
    with page.expect_response("**/predict/**"):
        page.get_by_role("button", name="Predict").click()
    return _shot(page)


def _diabetes(chromium: Any, url: str) -> Image.Image:
    page = _page(chromium, f"{url}/#diabetes", "dark")
    return _shot(page)


def _page(chromium: Any, url: str, scheme: str) -> Any:
    page = chromium.new_page(viewport=VIEW, color_scheme=scheme)
    page.goto(url)
    page.wait_for_selector("#prediction .result")
    return page


def _shot(page: Any) -> Image.Image:
    page.wait_for_selector("#prediction:not([aria-busy])")
    page.evaluate("scrollTo(0, 0)")
    return Image.open(io.BytesIO(page.screenshot()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
