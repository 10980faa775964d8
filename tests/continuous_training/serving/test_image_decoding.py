"""Decoding of image files of any size, colour and format, and uploads to /predict."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from continuous_training.artifacts.archive_writer import Archive, read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.serving.api.image_decoding import ImageFormat, decode_image
from continuous_training.serving.errors import RequestError

DIGIT = ImageFormat(8, 8, 16, integers=True)


def image_file(pixels: Any, file_format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, file_format, **options)
    return buffer.getvalue()


def bar(height: int, width: int, paper: int = 255, ink: int = 0) -> np.ndarray:
    """Return an image of a vertical bar that is not in the middle."""
    pixels = np.full((height, width), paper)
    pixels[height // 8 : height // 2, width // 8 : width // 4] = ink
    return pixels


def test_an_image_of_the_models_size_is_converted_pixel_by_pixel() -> None:
    pixels = np.zeros((8, 8))
    pixels[2, 3], pixels[7, 7] = 255, 127.5
    rows = np.array(decode_image(image_file(pixels), DIGIT))
    assert rows[2, 3] == 16
    assert rows[7, 7] == 8
    assert rows.sum() == 24


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (200, 60)])
def test_ink_is_cropped_and_scaled_in_any_format_and_colour(file_format: str, paper: int, ink: int) -> None:
    options = {} if file_format in ("PNG", "BMP") else {"quality": 95}
    rows = np.array(
        decode_image(image_file(bar(160, 120, paper, ink), file_format, mode="RGB", **options), DIGIT)
    )
    assert rows.shape == (8, 8)
    # The bar of 60 x 15 pixels is scaled to 8 x 2 pixels in the middle.
    assert (rows[:, 3:5] >= 14).all()
    assert rows[:, :3].max(initial=0) <= 1
    assert rows[:, 5:].max(initial=0) <= 1


def test_the_margin_and_the_centre_of_mass_are_applied() -> None:
    image_format = ImageFormat(28, 28, 1.0, margin=4 / 28, centre="mass")
    rows = np.array(decode_image(image_file(bar(160, 160)), image_format))
    ink_rows = np.flatnonzero(rows.any(axis=1))
    assert (ink_rows[0], ink_rows[-1]) == (4, 23)
    column = np.arange(28) @ rows.sum(axis=0) / rows.sum()
    assert abs(column - 14) <= 0.5


@pytest.mark.parametrize("size", range(5, 20))
def test_the_centre_of_mass_is_placed_as_in_mnist(size: int) -> None:
    """The centre is on pixel 14 of 28, counted from 0. Pixel 13.5 would shift each even size by one pixel."""
    pixels = np.full((200, 200), 255, np.uint8)
    pixels[20:180, 90 : 90 + 8 * size] = 0
    rows = np.array(decode_image(image_file(pixels), ImageFormat(28, 28, 1.0, margin=4 / 28, centre="mass")))
    for axis in (0, 1):
        centre = np.arange(28) @ rows.sum(axis=axis) / rows.sum()
        assert abs(centre - 14) <= 0.5


def test_grey_paper_and_darker_ink() -> None:
    """The paper of a dim photograph is darker than the middle of the grey levels."""
    bright, dim = (decode_image(image_file(bar(64, 64, *levels)), DIGIT) for levels in ((255, 0), (110, 20)))
    assert dim == bright


def test_transparent_pixels_are_paper() -> None:
    ink = bar(64, 64)
    rgba = np.zeros((64, 64, 4))
    rgba[..., 3] = 255 - ink
    assert decode_image(image_file(rgba), DIGIT) == decode_image(image_file(ink), DIGIT)


def test_the_exif_orientation_is_applied() -> None:
    pixels = bar(64, 64)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(image_file(np.rot90(pixels), exif=exif), DIGIT) == decode_image(
        image_file(pixels), DIGIT
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable image"),
        (b"\x89PNG\r\n\x1a\n", "not a readable image"),
        (image_file(bar(64, 64))[:-60], "not a readable image"),
        (b"GIF89a", "not a readable image"),
        (image_file(np.full((64, 64), 255)), "blank"),
        (image_file(np.full((64, 64), 90)), "blank"),
        (image_file(np.zeros((4001, 4001))), "the limit is 16 million"),
    ],
)
def test_unreadable_images_are_rejected(content: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        decode_image(content, DIGIT)


@pytest.fixture(scope="module")
def golden(archives: dict[str, Archive]) -> GoldenSet:
    return read_manifest(archives["digits"].path).golden


def scan(request: dict[str, Any]) -> bytes:
    """Return the image of a request like a scan: large, dark on light, and not centred."""
    small = Image.fromarray((255 - np.array(request["image"]) * 15).astype(np.uint8))
    large = np.array(small.resize((240, 240), Image.Resampling.BILINEAR))
    return image_file(np.pad(large, ((90, 30), (20, 150)), constant_values=255))


def test_uploaded_images_are_classified(gallery: str, golden: GoldenSet) -> None:
    url = f"{gallery}/predict/digits"
    scans = [scan(pair.request) for pair in golden]
    expected = [pair.response["predictions"][0]["label"] for pair in golden]
    files = [("images", (str(number), content)) for number, content in enumerate(scans)]
    predictions = requests.post(url, files=files, timeout=30).json()["predictions"]
    labels = [prediction["label"] for prediction in predictions]
    assert sum(a == b for a, b in zip(labels, expected, strict=True)) >= 18
    forms = [requests.post(url, files={"image": content}, timeout=30) for content in scans[:3]]
    headers = {"content-type": "image/png"}
    bodies = [requests.post(url, content, headers=headers, timeout=30) for content in scans[:3]]
    for responses in (forms, bodies):
        assert [response.json()["predictions"][0]["label"] for response in responses] == labels[:3]
    assert forms[0].headers["x-model-version"]


def test_an_illustrated_response_contains_the_pixels_and_the_neighbours(
    gallery: str, golden: GoldenSet
) -> None:
    url = f"{gallery}/predict/digits?illustrate=true"
    request = golden.requests[0].request
    illustrated = requests.post(url, json=request, timeout=30).json()
    assert illustrated["request"] == request
    (prediction,) = illustrated["answer"]["predictions"]
    assert np.shape(prediction["pictures"]) == (5, 8, 8)
    assert prediction["label"] == max(set(prediction["labels"]), key=prediction["labels"].count)
    uploaded = requests.post(url, files={"image": scan(request)}, timeout=30).json()
    assert np.shape(uploaded["request"]["image"]) == (8, 8)
    toy = requests.post(f"{gallery}/predict/toy?illustrate=true", json={"x": [1]}, timeout=30).json()
    assert toy == {"request": {"x": [1]}, "answer": {"scale": 2, "y": [2.0]}}


FORM = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("model", "headers", "body", "status", "message"),
    [
        ("diabetes", FORM, PART + b"x\r\n--b--\r\n", 415, "does not take images"),
        ("toy", {"content-type": "image/png"}, b"x", 415, "does not take images"),
        ("digits", {"content-type": "image/tiff"}, b"x", 415, "image/tiff is not supported"),
        ("digits", {"content-type": "multipart/form-data"}, b"x", 400, "has no boundary"),
        ("digits", FORM, b"", 400, "incomplete"),
        ("digits", FORM, b"nothing like a form", 400, "not a valid form"),
        ("digits", FORM, PART + image_file(bar(64, 64)), 400, "last boundary"),
        ("digits", FORM, PART + b"x\r\n--b--\r\n", 400, "not a readable image"),
        ("digits", FORM, b"--b--\r\n", 400, "contains no file"),
        ("digits", FORM, PART.replace(b'; filename="a"', b"") + b"[]\r\n--b--\r\n", 400, "contains no file"),
        ("digits", FORM, (PART + b"x\r\n") * 300 + b"--b--\r\n", 400, "more than 256 parts"),
        (
            "digits",
            FORM,
            PART
            + image_file(bar(64, 64))
            + b'\r\n--b\r\ncontent-disposition: form-data; name="k"\r\n\r\n5\r\n--b--\r\n',
            400,
            "'k' is unknown",
        ),
    ],
)
def test_invalid_uploads_are_rejected(
    gallery: str, model: str, headers: dict[str, str], body: bytes, status: int, message: str
) -> None:
    response = requests.post(f"{gallery}/predict/{model}", body, headers=headers, timeout=30)
    assert (response.status_code, message in response.json()["error"]) == (status, True), response.text


@pytest.mark.parametrize("query", ["illustrate=x", "illustrate=", "illustrate=true&illustrate=false"])
def test_illustrate_must_be_true_or_false(gallery: str, query: str) -> None:
    response = requests.post(f"{gallery}/predict/toy?{query}", json={"x": [1]}, timeout=30)
    assert response.status_code == 400
    assert "true or false" in response.json()["error"]
    plain = requests.post(f"{gallery}/predict/toy?illustrate=false&other=1", json={"x": [1]}, timeout=30)
    assert json.loads(plain.text) == {"scale": 2, "y": [2.0]}
