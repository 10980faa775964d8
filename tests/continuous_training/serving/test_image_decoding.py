"""Picture files as a model's pixels, whatever their size, their colours and their format."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from continuous_training.artifacts.archive import Archive, read_manifest
from continuous_training.serving.api.image_decoding import ImageFormat, decode_image
from continuous_training.serving.errors import RequestError

FRAME = ImageFormat(8, 8, 16, whole=True)


def file(pixels: Any, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    picture = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    buffer = io.BytesIO()
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def bar(height: int, width: int, paper: int = 255, ink: int = 0) -> np.ndarray:
    """A vertical bar, away from the middle."""
    pixels = np.full((height, width), paper)
    pixels[height // 8 : height // 2, width // 8 : width // 4] = ink
    return pixels


def test_a_picture_of_the_models_size_is_taken_pixel_by_pixel() -> None:
    pixels = np.zeros((8, 8))
    pixels[2, 3], pixels[7, 7] = 255, 127.5
    rows = np.array(decode_image(file(pixels), FRAME))
    assert rows[2, 3] == 16
    assert rows[7, 7] == 8
    assert rows.sum() == 24


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (200, 60)])
def test_ink_is_found_and_fitted_in_any_format_and_colour(kind: str, paper: int, ink: int) -> None:
    options = {} if kind in ("PNG", "BMP") else {"quality": 95}
    rows = np.array(decode_image(file(bar(160, 120, paper, ink), kind, mode="RGB", **options), FRAME))
    assert rows.shape == (8, 8)
    # Its 60 x 15 pixels become 8 x 2 of the model's, in the middle.
    assert (rows[:, 3:5] >= 14).all()
    assert rows[:, :3].max(initial=0) <= 1
    assert rows[:, 5:].max(initial=0) <= 1


def test_a_margin_and_a_centre_of_mass_are_kept() -> None:
    frame = ImageFormat(28, 28, 1.0, margin=4 / 28, centre="mass")
    rows = np.array(decode_image(file(bar(160, 160)), frame))
    filled = np.flatnonzero(rows.any(axis=1))
    assert (filled[0], filled[-1]) == (4, 23)
    column = np.arange(28) @ rows.sum(axis=0) / rows.sum()
    assert abs(column - 14) <= 0.5


@pytest.mark.parametrize("size", range(5, 20))
def test_a_centre_of_mass_comes_to_where_mnist_has_it(size: int) -> None:
    """Pixel 14 of 28, counted from 0; half a pixel less would put each even size one pixel off."""
    pixels = np.full((200, 200), 255, np.uint8)
    pixels[20:180, 90 : 90 + 8 * size] = 0
    rows = np.array(decode_image(file(pixels), ImageFormat(28, 28, 1.0, margin=4 / 28, centre="mass")))
    for axis in (0, 1):
        centre = np.arange(28) @ rows.sum(axis=axis) / rows.sum()
        assert abs(centre - 14) <= 0.5


def test_what_is_transparent_is_paper() -> None:
    ink = bar(64, 64)
    rgba = np.zeros((64, 64, 4))
    rgba[..., 3] = 255 - ink
    assert decode_image(file(rgba), FRAME) == decode_image(file(ink), FRAME)


def test_a_photograph_is_turned_upright() -> None:
    pixels = bar(64, 64)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(file(np.rot90(pixels), exif=exif), FRAME) == decode_image(file(pixels), FRAME)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no picture that can be read"),
        (b"\x89PNG\r\n\x1a\n", "no picture that can be read"),
        (file(bar(64, 64))[:-60], "no picture that can be read"),
        (b"GIF89a", "no picture that can be read"),
        (file(np.full((64, 64), 255)), "blank"),
        (file(np.full((64, 64), 90)), "blank"),
        (file(np.zeros((4001, 4001))), "at most 16 million"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        decode_image(content, FRAME)


@pytest.fixture(scope="module")
def golden(archives: dict[str, Archive]) -> list[dict[str, Any]]:
    rows = read_manifest(archives["digits"].path).golden.to_json()
    assert isinstance(rows, list)
    return rows


def scanned(row: dict[str, Any]) -> bytes:
    """A golden picture as somebody would scan it: large, dark on light, and somewhere on the sheet."""
    small = Image.fromarray((255 - np.array(row["request"]["image"]) * 15).astype(np.uint8))
    large = np.array(small.resize((240, 240), Image.Resampling.BILINEAR))
    return file(np.pad(large, ((90, 30), (20, 150)), constant_values=255))


def test_uploads_are_recognised_as_the_digits_they_show(gallery: str, golden: list[dict[str, Any]]) -> None:
    url = f"{gallery}/predict/digits"
    sheets = [scanned(row) for row in golden]
    wanted = [row["answer"]["predictions"][0]["label"] for row in golden]
    together = requests.post(url, files=[("images", (str(i), s)) for i, s in enumerate(sheets)], timeout=30)
    found = [prediction["label"] for prediction in together.json()["predictions"]]
    assert sum(a == b for a, b in zip(found, wanted, strict=True)) >= 18
    alone = [requests.post(url, files={"image": sheet}, timeout=30) for sheet in sheets[:3]]
    plain = [
        requests.post(url, sheet, headers={"content-type": "image/png"}, timeout=30) for sheet in sheets[:3]
    ]
    for answers in (alone, plain):
        assert [answer.json()["predictions"][0]["label"] for answer in answers] == found[:3]
    assert alone[0].headers["x-model-version"]


def test_an_illustrated_answer_shows_the_pixels_and_the_neighbours(
    gallery: str, golden: list[dict[str, Any]]
) -> None:
    url = f"{gallery}/predict/digits?illustrate=true"
    shown = requests.post(url, json=golden[0]["request"], timeout=30).json()
    assert shown["request"] == golden[0]["request"]
    (prediction,) = shown["answer"]["predictions"]
    assert np.shape(prediction["pictures"]) == (5, 8, 8)
    assert prediction["label"] == max(set(prediction["labels"]), key=prediction["labels"].count)
    uploaded = requests.post(url, files={"image": scanned(golden[0])}, timeout=30).json()
    assert np.shape(uploaded["request"]["image"]) == (8, 8)
    toy = requests.post(f"{gallery}/predict/toy?illustrate=true", json={"x": [1]}, timeout=30).json()
    assert toy == {"request": {"x": [1]}, "answer": {"scale": 2, "y": [2.0]}}


FORM = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("model", "headers", "body", "status", "words"),
    [
        ("diabetes", FORM, PART + b"x\r\n--b--\r\n", 415, "takes no pictures"),
        ("toy", {"content-type": "image/png"}, b"x", 415, "takes no pictures"),
        ("digits", {"content-type": "image/tiff"}, b"x", 415, "image/tiff is not read"),
        ("digits", {"content-type": "multipart/form-data"}, b"x", 400, "no boundary"),
        ("digits", FORM, b"", 400, "not a"),
        ("digits", FORM, b"nothing like a form", 400, "not a"),
        ("digits", FORM, PART + file(bar(64, 64)), 400, "last boundary"),
        ("digits", FORM, PART + b"x\r\n--b--\r\n", 400, "no picture that can be read"),
        ("digits", FORM, b"--b--\r\n", 400, "no file"),
        ("digits", FORM, PART.replace(b'; filename="a"', b"") + b"[]\r\n--b--\r\n", 400, "no file"),
        ("digits", FORM, (PART + b"x\r\n") * 300 + b"--b--\r\n", 400, "more than 256 parts"),
        (
            "digits",
            FORM,
            PART
            + file(bar(64, 64))
            + b'\r\n--b\r\ncontent-disposition: form-data; name="k"\r\n\r\n5\r\n--b--\r\n',
            400,
            "'k' is no part",
        ),
    ],
)
def test_what_is_no_upload_is_refused_in_words(
    gallery: str, model: str, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    answer = requests.post(f"{gallery}/predict/{model}", body, headers=headers, timeout=30)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


@pytest.mark.parametrize("query", ["illustrate=x", "illustrate=", "illustrate=true&illustrate=false"])
def test_illustrate_is_true_or_false(gallery: str, query: str) -> None:
    answer = requests.post(f"{gallery}/predict/toy?{query}", json={"x": [1]}, timeout=30)
    assert answer.status_code == 400
    assert "true or false" in answer.json()["error"]
    plain = requests.post(f"{gallery}/predict/toy?illustrate=false&other=1", json={"x": [1]}, timeout=30)
    assert json.loads(plain.text) == {"scale": 2, "y": [2.0]}
