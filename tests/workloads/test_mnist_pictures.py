"""Tests of reading picture files: each upload is converted to the format of MNIST."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from continuous_training.serving.api.multipart import parse_upload
from tests.picture_files import blank_files, chunk, lossless_forms, low_depth_forms
from workloads.mnist.handler import MnistHandler
from workloads.mnist.idx import read_idx
from workloads.mnist.pictures import INK, read_picture
from workloads.mnist.workload import Mnist

SAMPLE = Path(__file__).parents[2] / "workloads" / "mnist" / "sample"


def file(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return read_idx(SAMPLE / "t10k-images-idx3-ubyte.gz", 3)[:40]


def seven(size: int = 300, paper: Any = "white", ink: Any = "black", mode: str = "RGB") -> Image.Image:
    """A seven that is drawn near a corner of the picture."""
    picture = Image.new(mode, (size, size), paper)
    pen = ImageDraw.Draw(picture)
    pen.line([(20, 30), (120, 30), (60, 150)], fill=ink, width=14, joint="curve")
    return picture


def test_a_picture_of_mnist_and_its_negative_are_returned_unchanged(digits: np.ndarray) -> None:
    for digit in digits:
        assert (read_picture(file(Image.fromarray(digit))) == digit).all()
        assert (read_picture(file(Image.fromarray(255 - digit))) == digit).all()


def test_a_picture_of_another_size_is_normalised(digits: np.ndarray) -> None:
    """MNIST's normalisation reverses the enlargement, the larger sheet and the shift from the centre."""
    differences = []
    for digit in digits:
        large = Image.fromarray(digit).resize((140, 140), Image.Resampling.BICUBIC)
        sheet = Image.new("L", (200, 320))
        sheet.paste(large, (10, 150))
        image = read_picture(file(sheet))
        assert image.shape == (28, 28)
        differences.append(np.abs(image - digit).mean())
    assert np.mean(differences) < 9, "of 255; two different pictures of one digit differ by some 40"


def test_all_formats_of_the_same_drawing_give_the_same_digit() -> None:
    drawing = seven()
    expected = read_picture(file(drawing))
    assert expected.max() == 255
    assert expected[0].max() == expected[:, 0].max() == 0
    clear = Image.new("RGBA", drawing.size, (0, 0, 0, 0))
    clear.paste("black", mask=Image.eval(drawing.convert("L"), lambda grey: 255 - grey))
    deep = Image.fromarray(np.asarray(drawing.convert("L")).astype(np.uint16) * 257)
    stored = {
        "grey": file(drawing.convert("L")),
        "one bit": file(drawing.convert("1")),
        "palette": file(drawing.convert("P")),
        "transparent": file(clear),
        "sixteen bits": file(deep),
        "interlaced": file(drawing, interlace=1),
        "white on black": file(seven(paper="black", ink="white")),
        "larger sheet": file(seven(900)),
    }
    for name, content in stored.items():
        assert np.abs(read_picture(content) - expected).mean() < 2, name
    pale = {
        "faint ink": file(seven(paper="#f0f0f0", ink="#a0a0a0")),
        "coloured": file(seven(paper="#e8e0c0", ink="#203080")),
        "JPEG": file(drawing, "JPEG", quality=70),
    }
    for name, content in pale.items():
        assert np.abs(read_picture(content) - expected).mean() < 6, name


def test_the_exif_orientation_is_applied() -> None:
    turned = seven().rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF orientation 6: rotate clockwise by 90 degrees to display.
    image = read_picture(file(turned, "JPEG", exif=exif, quality=95))
    assert np.abs(image - read_picture(file(seven()))).mean() < 6


@pytest.mark.parametrize("size", [(1, 90), (90, 1), (3000, 2), (27, 28), (2, 2)])
def test_unusual_sizes_are_accepted(size: tuple[int, int]) -> None:
    picture = Image.new("L", size, 0)
    picture.putpixel((size[0] // 2, size[1] // 2), 255)
    image = read_picture(file(picture))
    assert image.shape == (28, 28)
    assert np.isfinite(image).all()


@pytest.mark.parametrize("size", [(8, 8), (60, 90), (300, 40)])
def test_the_form_of_the_file_does_not_matter(digits: np.ndarray, size: tuple[int, int]) -> None:
    for digit in digits[:5]:
        grey = 255 - np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC))
        files = lossless_forms(grey)
        expected = read_picture(files["8 bits"])
        assert [name for name, content in files.items() if (read_picture(content) != expected).any()] == []
        for depth in (1, 2, 4):
            files = low_depth_forms(grey, depth)
            expected = read_picture(files["8 bits"])
            different = [name for name in files if (read_picture(files[name]) != expected).any()]
            assert different == [], depth


def test_all_forms_of_a_picture_of_mnist_are_returned_unchanged(digits: np.ndarray) -> None:
    for digit in digits[:5]:
        files = lossless_forms(255 - digit)
        scan = read_picture(files.pop("16 bits from a scanner"))
        assert [name for name in files if (read_picture(files[name]) != digit).any()] == []
        assert np.abs(scan - digit).max() <= INK / 64


@pytest.mark.parametrize("size", [(28, 28), (50, 50), (1, 1)])
@pytest.mark.parametrize("name", blank_files(1, 1))
def test_blank_pictures_of_any_size_are_rejected(size: tuple[int, int], name: str) -> None:
    with pytest.raises(ValueError, match="the picture is blank"):
        read_picture(blank_files(*size)[name])


@pytest.mark.parametrize("size", [28, 29, 200])
def test_an_upload_and_base64_give_the_same_image(digits: np.ndarray, size: int) -> None:
    """In all formats, bit depths and forms of transparency."""
    handler = MnistHandler()
    for digit in digits[:3]:
        grey = 255 - np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC))
        photograph = Image.fromarray((grey * 0.4 + 100).astype(np.uint8))
        files = [*lossless_forms(grey).values(), *low_depth_forms(grey, 4).values()]
        files += [file(photograph, kind) for kind in ("PNG", "JPEG", "BMP", "WEBP")]
        for content in files:
            uploaded = parse_upload("image/png", content, Mnist.request_schema, handler.read_image)
            in_json = {"image": base64.b64encode(content).decode()}
            tensors = [handler.preprocess(request)["image"] for request in (uploaded, in_json, content)]
            assert np.array_equal(tensors[0], tensors[1])
            assert np.array_equal(tensors[0], tensors[2])


def bomb(side: int) -> bytes:
    """A small PNG whose header declares `side` times `side` pixels."""
    header = side.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as PNG, JPEG"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read as PNG, JPEG"),
        (b'{"image": 5}', "cannot be read as PNG, JPEG"),
        (file(seven())[:300], "cannot be read as PNG, JPEG"),
        (file(seven(), "GIF"), "cannot be read as PNG, JPEG"),
        (bomb(5000), "5000 x 5000 pixels; send at most 16,000,000"),
        (bomb(2**30), "cannot be read as PNG, JPEG"),
        (file(Image.new("L", (50, 50), 255)), "the picture is blank"),
        (file(Image.new("RGB", (50, 50), "#123456")), "the picture is blank"),
    ],
    ids=["empty", "header", "JSON", "cut", "GIF", "large", "enormous", "white", "blue"],
)
def test_an_invalid_picture_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_picture(content)


def test_pillow_is_not_imported_before_the_first_picture() -> None:
    code = "import sys, workloads.mnist.handler; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
