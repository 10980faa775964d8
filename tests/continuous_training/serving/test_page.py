"""The page at `/` in a real browser, used with mouse, touch and keyboard."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from browser import ONE, SEVEN, browser, draw, program
from PIL import Image, ImageDraw

needs_browser = pytest.mark.skipif(program() is None, reason="needs Chromium: apt-get install chromium")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1200, "height": 900}

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as instance:
        yield instance


@pytest.fixture
def visit(chromium: Any, gallery: str) -> Iterator[Open]:
    """A function that opens the page of a model. Browser errors and requests to other hosts fail the test."""
    browser_errors: list[str] = []
    contexts = []

    def open_page(model: str = "", **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: browser_errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and browser_errors.append(message.text))
        page.on(
            "request", lambda sent: sent.url.startswith((gallery, "blob:")) or browser_errors.append(sent.url)
        )
        page.goto(f"{gallery}/#{model}")
        page.wait_for_selector("#prediction .result")
        return page

    yield open_page
    for context in contexts:
        context.close()
    # The browser also logs a response with status 400, which the page shows to the user.
    assert [error for error in browser_errors if "status of 400" not in error] == []


def headline(page: Any) -> Any:
    return page.locator("#prediction .headline").first


def prediction_after(page: Any, action: Callable[[], Any]) -> Any:
    """Run an action that causes a request, wait until its response is shown, and return the response."""
    with page.expect_response(re.compile("/predict/")) as response_info:
        action()
    content = response_info.value.json()
    page.wait_for_selector("#prediction:not([aria-busy])")
    return content


def test_root_is_the_page_for_browsers_and_the_model_list_for_other_clients(gallery: str) -> None:
    page = requests.get(gallery, headers={"accept": "text/html,*/*"}, timeout=30)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    index = requests.get(gallery, timeout=30)
    assert [model["name"] for model in index.json()["models"]] == ["diabetes", "digits", "reviews", "toy"]
    assert page.headers["vary"] == index.headers["vary"] == "accept"
    assert requests.get(f"{gallery}/page/..%2froutes.py", timeout=30).status_code == 404


def test_page_contains_no_links_to_other_hosts(gallery: str) -> None:
    html = requests.get(gallery, headers={"accept": "text/html"}, timeout=30).text
    names = re.findall(r'(?:src|href)="(page/[^"]+)"', html)
    assert {"page/app.js", "page/style.css"} <= set(names)
    for name in names:
        text = requests.get(f"{gallery}/{name}", timeout=30).text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


@needs_browser
def test_drawn_digit_is_recognised_and_its_neighbours_are_shown(visit: Open) -> None:
    page = visit("digits")
    seven = prediction_after(page, lambda: draw(page, SEVEN))
    assert headline(page).inner_text() == "7"
    assert page.locator(".strip canvas").count() == 5
    caption = page.locator(".strip li").first.inner_text()
    assert str(seven["answer"]["predictions"][0]["neighbours"][0]) in caption
    pixels = page.locator(".strip canvas").first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 == 0)"
    )
    nearest = seven["answer"]["predictions"][0]["pictures"][0]
    assert pixels == [255 - int(255 * ink / 16 + 0.5) for row in nearest for ink in row]
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector("#prediction :text('No request was sent yet')")
    prediction_after(page, lambda: draw(page, ONE))
    assert headline(page).inner_text() == "1"


@needs_browser
def test_drawing_with_touch(visit: Open) -> None:
    page = visit("digits", viewport=PHONE, has_touch=True, is_mobile=True)
    box = page.locator(".board canvas").bounding_box()
    touches = [
        {"x": box["x"] + 0.5 * box["width"], "y": box["y"] + y * box["height"]} for y in (0.1, 0.5, 0.9)
    ]
    session = page.context.new_cdp_session(page)

    def touch() -> None:
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": touches[:1]})
        for point in touches[1:]:
            session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    prediction_after(page, touch)
    assert headline(page).inner_text() == "1"


@needs_browser
def test_picture_upload(visit: Open) -> None:
    page = visit("digits")
    sheet = Image.new("L", (400, 300), 240)
    ImageDraw.Draw(sheet).line([(200, 30), (200, 270)], fill=20, width=34)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG")
    upload = {"name": "one.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}
    prediction_after(page, lambda: page.set_input_files("input[type=file]", upload))
    assert headline(page).inner_text() == "1"
    page.get_by_text("Send this request from a program").click()
    assert "-F image=@one.jpg" in page.locator("#curl").inner_text()
    invalid_upload = {**upload, "buffer": b"no picture"}
    prediction_after(page, lambda: page.set_input_files("input[type=file]", invalid_upload))
    assert "not a readable image" in page.locator("#prediction [role=alert]").inner_text()


@needs_browser
def test_sliders_with_the_keyboard(visit: Open) -> None:
    page = visit("diabetes")
    slider = page.get_by_label("bmi", exact=True)
    assert float(slider.get_attribute("min")) == 18
    before = float(headline(page).inner_text())
    slider.focus()
    content = prediction_after(page, lambda: page.keyboard.press("End"))
    assert content["request"]["patient"]["bmi"] == 42.2
    assert float(headline(page).inner_text()) > before + 20
    number = page.get_by_label("bmi, as a number")
    assert number.input_value() == "42.2"
    content = prediction_after(page, lambda: number.fill("30.5"))
    assert content["request"]["patient"]["bmi"] == 30.5
    content = prediction_after(page, lambda: page.get_by_role("button", name="Example 3").click())
    assert float(page.get_by_label("age, as a number").input_value()) == content["request"]["patient"]["age"]


@needs_browser
def test_text_list_has_one_text_per_line(visit: Open) -> None:
    page = visit("reviews")
    content = prediction_after(page, lambda: page.get_by_label("text").fill("So good\n\n<b>bad</b> & boring"))
    assert content["request"] == {"text": ["So good", "<b>bad</b> & boring"]}
    assert page.locator(".headline").all_inner_texts() == ["positive", "negative"]
    assert page.locator(".row-input").all_inner_texts() == ["So good", "<b>bad</b> & boring"]
    assert page.locator("meter").first.get_attribute("value") == "0.95"
    content = prediction_after(page, lambda: page.get_by_label("do fast").check())
    assert content["request"]["do_fast"] is True
    assert page.locator(".bars").first.inner_text().split("\n")[1] == "75.0 %"


@needs_browser
def test_model_without_schema_has_a_json_field_with_an_example(visit: Open) -> None:
    page = visit("toy")
    field = page.get_by_role("textbox", name="Request")
    assert field.input_value() == '{\n  "x": [1.0, 2.5]\n}'.replace("1.0", "1")
    prediction_after(page, lambda: field.fill('{"x": [21]}'))
    assert "42" in page.locator("#prediction").inner_text()
    prediction_after(page, lambda: field.fill('{"y": 1}'))
    assert 'send {"x": [numbers]}' in page.locator("#prediction [role=alert]").inner_text()
    field.fill('{"x": ')
    page.wait_for_selector("#prediction :text('is not JSON')")


@needs_browser
def test_model_selection_with_the_keyboard(visit: Open) -> None:
    page = visit()
    assert page.title() == "Try diabetes"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    prediction_after(page, lambda: page.keyboard.press("Enter"))
    assert page.title() == "Try digits"
    assert page.locator("nav [aria-current=page]").inner_text() == "digits"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("model", ["diabetes", "digits", "reviews", "toy"])
def test_page_is_accessible_and_fits_the_screen(
    visit: Open, model: str, viewport: dict[str, int], scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit(model, viewport=viewport, color_scheme=scheme)
    page.get_by_text("Send this request from a program").click()
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
