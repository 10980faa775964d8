"""Decoding of image files to the pixel rows of a model's input.

Pillow is imported in the functions that use it, for a fast start: most requests contain no image.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from continuous_training.serving.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/bmp": "BMP"}
"""The supported media types and Pillow's names for them."""

MAX_PIXELS = 16_000_000
"""The maximum number of pixels in an image file. A small file can contain an image of several gigabytes."""

_MAX_SIDE = 1024
"""Larger images are scaled down to this width or height before they are processed."""
_MIN_CONTRAST = 16
"""The minimum difference between ink and paper, in grey levels from 0 to 255."""
_PAPER_LEVEL = 0.25
"""Ink below this level counts as paper, to remove noise."""


@dataclass(frozen=True)
class ImageFormat:
    """The image format of a model's input.

    `height` rows of `width` pixels from 0 (paper) to `max_value` (ink), as integers if `integers`. `margin`
    is the share of each side that stays empty around the ink. `centre` is the point of the ink that is
    placed in the middle: the middle of its bounding `box`, or its centre of `mass`.
    """

    height: int
    width: int
    max_value: float
    integers: bool = False
    margin: float = 0.0
    centre: str = "box"

    @classmethod
    def from_schema(cls, schema: dict[str, Any]) -> ImageFormat:
        """Read the format from the JSON Schema of an image, which contains `x-image`."""
        row, options = schema["items"], schema["x-image"]
        return cls(
            height=schema["minItems"],
            width=row["minItems"],
            max_value=row["items"]["maximum"],
            integers=row["items"].get("type") == "integer",
            margin=options.get("margin", 0.0),
            centre=options.get("centre", "box"),
        )


def decode_image(content: bytes, image_format: ImageFormat) -> list[list[float]]:
    """Return the pixel rows of an image file. RequestError if the file is not a supported image, or blank.

    An image of exactly the model's size is converted pixel by pixel. Other images are cropped to their ink,
    scaled and centred. The border of the image decides whether the ink is darker or lighter than the paper.
    """
    ink = _ink(_decode_grey(content))
    if ink.shape != (image_format.height, image_format.width):
        ink = _fit(ink, image_format)
    pixels = ink * image_format.max_value
    pixels = np.rint(pixels).astype(int) if image_format.integers else pixels.round(3)
    rows: list[list[float]] = pixels.tolist()
    return rows


def _decode_grey(content: bytes) -> np.ndarray:
    """Decode an image to grey levels from 0 to 255. Transparent pixels become white."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=sorted(set(MEDIA_TYPES.values()))) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise RequestError(
                        f"the image has {image.width} x {image.height} pixels, and the limit is "
                        f"{MAX_PIXELS // 10**6} million; send a smaller one"
                    )
                image.load()
                # Scale down before the conversion to floats, which take four times the memory.
                image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.BOX)
                upright: Image.Image = ImageOps.exif_transpose(image) or image
                return np.asarray(_flatten_transparency(upright), dtype=np.float32)
    except RequestError:
        raise
    # Pillow's decoders raise many exception types for damaged files.
    except Exception as error:
        names = ", ".join(sorted(MEDIA_TYPES.values()))
        raise RequestError(f"the file is not a readable image ({names})") from error


def _flatten_transparency(image: Image.Image) -> Image.Image:
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("L")
    layers = image.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(paper, layers).convert("L")


def _ink(grey: np.ndarray) -> np.ndarray:
    """Convert grey levels to ink from 0 to 1. The border is taken to be paper."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark_on_light = np.median(border) > 127
    return (255 - grey if dark_on_light else grey) / 255


def _fit(ink: np.ndarray, image_format: ImageFormat) -> np.ndarray:
    """Crop to the ink, stretch its contrast, and scale it into the middle of the model's format."""
    low, high = float(np.median(ink)), float(ink.max())
    if (high - low) * 255 < _MIN_CONTRAST:
        raise RequestError("the image is blank: no ink is visible on the paper")
    ink = np.clip((ink - low) / (high - low), 0, 1)
    ink[ink < _PAPER_LEVEL] = 0
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = np.array([image_format.height, image_format.width]) * (1 - 2 * image_format.margin)
    scale = float((size / ink.shape).min())
    scaled = _resize(ink, [max(1, round(side * scale)) for side in ink.shape])
    top, left = _position(scaled, image_format)
    fitted = np.zeros((image_format.height, image_format.width), dtype=np.float32)
    fitted[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return fitted


def _resize(ink: np.ndarray, shape: list[int]) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(ink.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BOX))


def _position(ink: np.ndarray, image_format: ImageFormat) -> list[int]:
    """Return the row and the column of the ink's upper left corner in the model's format."""
    frame = (image_format.height, image_format.width)
    centres = [side / 2 for side in ink.shape]
    if image_format.centre == "mass":
        # The centre of mass is placed on pixel 14 of 28, counted from 0, as in MNIST: the mean of the
        # centres of its images is 14.0, not 13.5.
        axes = np.indices(ink.shape)
        centres = [float((axis * ink).sum() / ink.sum()) for axis in axes]
    return [
        int(min(max(round(side / 2 - centre), 0), side - size))
        for side, centre, size in zip(frame, centres, ink.shape, strict=True)
    ]
