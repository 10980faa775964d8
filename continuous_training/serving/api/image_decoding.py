"""A picture file as the rows of pixels that a model takes."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from continuous_training.serving.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/bmp": "BMP"}
"""The media types that are read, and Pillow's names for them."""

MAX_PIXELS = 16_000_000
"""The most pixels of a picture file: a small file can hold a picture that fills the memory."""

_LARGEST_SIDE = 1024
_FAINTEST = 16
_PAPER = 0.25


@dataclass(frozen=True)
class ImageFormat:
    """What a model takes: `height` rows of `width` pixels, from 0 (paper) to `brightest` (ink).

    `margin` is the share of the sides that stays paper around the ink, and `centre` says whether the
    ink's box or its centre of mass comes to the middle.
    """

    height: int
    width: int
    brightest: float
    whole: bool = False
    margin: float = 0.0
    centre: str = "box"

    @classmethod
    def of(cls, schema: dict[str, Any]) -> ImageFormat:
        """Read the frame from the JSON Schema of a picture, one with `x-image`."""
        row, about = schema["items"], schema["x-image"]
        return cls(
            height=schema["minItems"],
            width=row["minItems"],
            brightest=row["items"]["maximum"],
            whole=row["items"].get("type") == "integer",
            margin=about.get("margin", 0.0),
            centre=about.get("centre", "box"),
        )


def decode_image(content: bytes, frame: ImageFormat) -> list[list[float]]:
    """Return the picture's ink in the model's frame; RequestError when it is none, or holds nothing.

    A picture of exactly the model's size is taken pixel by pixel. Any other is cropped to its ink, scaled
    and centred. Dark ink on light paper and light ink on dark are told apart by the picture's border.
    """
    ink = _ink(_grey(content))
    if ink.shape != (frame.height, frame.width):
        ink = _fitted(ink, frame)
    pixels = ink * frame.brightest
    rows: list[list[float]] = (np.rint(pixels).astype(int) if frame.whole else pixels.round(3)).tolist()
    return rows


def _grey(content: bytes) -> np.ndarray:
    """Decode to grey, 0 to 255; what is transparent is white."""
    from PIL import Image, ImageOps  # late: most requests are no pictures

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=sorted(set(FORMATS.values()))) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise RequestError(
                        f"the picture has {picture.width} x {picture.height} pixels, and at most "
                        f"{MAX_PIXELS // 10**6} million are read; send a smaller one"
                    )
                picture.load()
                # All that follows is in floats: large ones are made small while they are bytes.
                picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.BOX)
                upright: Image.Image = ImageOps.exif_transpose(picture) or picture
                return np.asarray(_opaque(upright), dtype=np.float32)
    except RequestError:
        raise
    # Whatever its decoders stumble over, it is the file that is at fault.
    except Exception as error:
        names = ", ".join(sorted(FORMATS.values()))
        raise RequestError(f"the file is no picture that can be read here ({names})") from error


def _opaque(picture: Image.Image) -> Image.Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("L")
    layers = picture.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(paper, layers).convert("L")


def _ink(grey: np.ndarray) -> np.ndarray:
    """Turn grey into ink from 0 to 1, whichever of the two is the lighter."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark_on_light = np.median(border) > 127
    return (255 - grey if dark_on_light else grey) / 255


def _fitted(ink: np.ndarray, frame: ImageFormat) -> np.ndarray:
    """Crop to the ink, stretch its contrast, and scale it into the middle of the frame."""
    low, high = float(np.median(ink)), float(ink.max())
    if (high - low) * 255 < _FAINTEST:
        raise RequestError("the picture is blank: no ink stands out from the paper")
    ink = np.clip((ink - low) / (high - low), 0, 1)
    ink[ink < _PAPER] = 0
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    room = np.array([frame.height, frame.width]) * (1 - 2 * frame.margin)
    scale = float((room / ink.shape).min())
    small = _resized(ink, [max(1, round(side * scale)) for side in ink.shape])
    corner = _corner(small, frame)
    placed = np.zeros((frame.height, frame.width), dtype=np.float32)
    placed[corner[0] : corner[0] + small.shape[0], corner[1] : corner[1] + small.shape[1]] = small
    return placed


def _resized(ink: np.ndarray, shape: list[int]) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(ink.astype(np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BOX))


def _corner(small: np.ndarray, frame: ImageFormat) -> list[int]:
    """Say where the upper left corner of the ink comes to lie."""
    whole = (frame.height, frame.width)
    middles = [side / 2 for side in small.shape]
    if frame.centre == "mass":
        # On pixel 14 of 28, counted from 0, as in MNIST: the mean of its pictures' centres is 14.0, not 13.5.
        grid = np.indices(small.shape)
        middles = [float((axis * small).sum() / small.sum()) for axis in grid]
    return [
        int(min(max(round(side / 2 - middle), 0), side - size))
        for side, middle, size in zip(whole, middles, small.shape, strict=True)
    ]
