"""Decoding of image files to the pixel rows of a model's input.

Pillow is imported in the functions that use it, for a fast start: most requests contain no image.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from continuous_training.serving.errors import RequestError
from continuous_training.serving.models.schema_inference import Schema

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/bmp": "BMP"}
"""The supported media types and Pillow's names for them."""

MEDIA_TYPE_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
}
"""Unregistered names of media types that clients send."""

MAX_PIXELS = 16_000_000
"""The maximum number of pixels in an image file. A small file can contain an image of several gigabytes."""

_MAX_SIDE = 1024
"""Larger images are scaled down to this width or height before they are processed."""
_MIN_CONTRAST = 16 / 255
"""The minimum difference between ink and paper; 1 is the difference between black and white."""
_PURE_PAPER = 2 / 255
"""The paper of a digital image is black or white up to this difference; that of a scan is not."""
_INK_LEVELS = 64
"""Ink is rounded to these levels, so that the same picture in 8 and in 16 bits gives the same response."""
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
    def from_schema(cls, schema: Schema) -> ImageFormat:
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

    The result does not depend on the file format, the bit depth, the colours or the transparency. The border
    of the image is paper: ink is darker or lighter than it. The contrast is stretched, except in a digital
    image of exactly the model's size, which is converted pixel by pixel. An image of another size is cropped
    to its ink, scaled and centred.
    """
    grey = _decode_grey(content)
    has_model_size = grey.shape == (image_format.height, image_format.width)
    levels = _ink_levels(grey, keep=has_model_size)
    ink = levels[grey] if has_model_size else _fit(levels, grey, image_format)
    pixels = ink * image_format.max_value
    pixels = np.rint(pixels).astype(int) if image_format.integers else pixels.round(3)
    rows: list[list[float]] = pixels.tolist()
    return rows


def _decode_grey(content: bytes) -> np.ndarray:
    """Decode an image to grey levels, uint8 or uint16. Transparent pixels become paper."""
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
                return _grey_levels(ImageOps.exif_transpose(image) or image)
    except RequestError:
        raise
    # Pillow's decoders raise many exception types for damaged files.
    except Exception as error:
        names = ", ".join(sorted(MEDIA_TYPES.values()))
        raise RequestError(f"the file is not a readable image ({names})") from error


def _grey_levels(image: Image.Image) -> np.ndarray:
    """Convert an image to grey levels. Transparent pixels become white, or black if white has no contrast."""
    from PIL import Image

    if image.mode.startswith("I"):  # Pillow's conversion to 8 bits would clip the 16 bits.
        return np.asarray(image).astype(np.uint16)
    is_opaque = not image.has_transparency_data
    if is_opaque or image.mode in ("1", "L", "RGB"):
        grey = np.asarray(image.convert("L"))
        # One transparent colour is that of the paper, if the other pixels differ from it.
        if is_opaque or _contrast(grey) >= _MIN_CONTRAST:
            return grey
    layers = image.convert("RGBA").convert("LA")
    ink, opacity = layers.getchannel("L"), layers.getchannel("A")
    for paper in ("white", "black"):
        grey = np.asarray(Image.composite(ink, Image.new("L", ink.size, paper), opacity))
        if _contrast(grey) >= _MIN_CONTRAST:
            break
    return grey


def _contrast(grey: np.ndarray) -> float:
    return float(np.ptp(grey)) / np.iinfo(grey.dtype).max


def _ink_levels(grey: np.ndarray, *, keep: bool) -> np.ndarray:
    """Return the ink of each grey level, from 0 (paper) to 1. RequestError if the image is blank.

    The strongest ink becomes 1. With `keep`, this applies only to scans and faint images.
    """
    white = np.iinfo(grey.dtype).max
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border)) / white
    darker, lighter = paper - float(grey.min()) / white, float(grey.max()) / white - paper
    contrast = max(darker, lighter)
    if contrast < _MIN_CONTRAST:
        raise RequestError("the image is blank: no ink is visible on the paper")
    levels = np.linspace(0, 1, white + 1)
    ink = np.clip(paper - levels if darker > lighter else levels - paper, 0, contrast)
    is_digital = min(paper, 1 - paper) <= _PURE_PAPER and contrast > 0.5
    if keep and is_digital:
        return ink
    return np.rint(ink / contrast * _INK_LEVELS) / _INK_LEVELS


def _fit(levels: np.ndarray, grey: np.ndarray, image_format: ImageFormat) -> np.ndarray:
    """Crop to the ink, and scale it into the middle of the model's format."""
    from PIL import Image

    image = Image.fromarray(np.rint(levels * 255).astype(np.uint8)[grey])
    image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.BOX)
    ink = np.asarray(image, dtype=np.float32) / 255
    ink = np.where(ink < _PAPER_LEVEL, 0, ink)
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
