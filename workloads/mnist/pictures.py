"""Convert an image file to the form of MNIST: 28 x 28 pixels, light ink on black, centred."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

SIDE = 28
INK = 255
_BOX = 20
"""The longer side of a digit in MNIST, in pixels, without the margin."""
_PAPER_SHARE = 0.2
"""Pixels with at most this share of the strongest ink count as paper: shadows and JPEG noise."""
_MIN_CONTRAST = 1 / 16
"""The minimum difference between ink and paper; 1 is the difference between black and white."""
_PURE_PAPER = 2 / 255
"""The paper of a digital picture is black or white up to this difference; that of a scan is not."""
_INK_LEVELS = 64
"""Ink is rounded to these levels, so that the same picture in 8 and in 16 bits gives the same response."""
_MAX_PIXELS = 16_000_000
"""Limit that accepts a phone's photograph and rejects a small file that decodes to gigabytes."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


class _PictureError(ValueError):
    """The file is a picture that cannot be used."""


def read_picture(content: bytes) -> np.ndarray:
    """Convert a PNG, JPEG, WebP or BMP file to float32 [28, 28], from 0 (paper) to 255 (ink).

    The median of the border is the colour of the paper. A digital image of 28 x 28 pixels is used as it is,
    inverted if its paper is light, and a scan of that size gets full contrast. Any other image is cropped to
    its ink, scaled into 20 x 20 pixels and centred by its centre of mass. Raises ValueError, with a message
    for the client, if the content is not such a file or the image is blank.
    """
    grey = _grey(content)
    has_model_size = grey.shape == (SIDE, SIDE)
    ink = _ink(grey, keep=has_model_size)
    return ink if has_model_size else _centre(np.where(ink > _PAPER_SHARE * INK, ink, 0))


def _ink(grey: np.ndarray, *, keep: bool) -> np.ndarray:
    """Return the ink of each pixel, float32. `keep` prevents that the ink of a digital image is stretched."""
    white = np.iinfo(grey.dtype).max
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])) / white
    darkest, lightest = (paper - level / white for level in (grey.min(), grey.max()))
    contrast = max(darkest, -lightest)
    if contrast < _MIN_CONTRAST:
        raise ValueError("the picture is blank: all pixels are nearly as bright as the border")
    levels = np.linspace(0, 1, white + 1)
    ink = np.clip(paper - levels if darkest > -lightest else levels - paper, 0, contrast)
    if not (keep and min(paper, 1 - paper) <= _PURE_PAPER and contrast > 0.5):
        ink = np.rint(ink / contrast * _INK_LEVELS) / _INK_LEVELS
    scaled: np.ndarray = (ink * INK).astype(np.float32)
    return scaled[grey]


def _grey(content: bytes) -> np.ndarray:
    """Decode to grey levels, uint8 or uint16 [height, width]. Transparent pixels become paper."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise _PictureError(
                    f"the picture has {opened.width} x {opened.height} pixels; send at most {_MAX_PIXELS:,}"
                )
            picture = ImageOps.exif_transpose(opened)
            # Pillow would clip pixels of sixteen bits to 255.
            if picture.mode.startswith("I"):
                return np.asarray(picture).astype(np.uint16)
            is_opaque = not picture.has_transparency_data
            if is_opaque or picture.mode in ("1", "L", "RGB"):
                grey = np.asarray(picture.convert("L"))
                # One transparent colour is that of the paper, if the other pixels differ from it.
                if is_opaque or _has_contrast(grey):
                    return grey
            on_white, on_black = (_flatten(picture, paper) for paper in ("white", "black"))
            return on_white if _has_contrast(on_white) else on_black
    except _PictureError:
        raise
    # Pillow's decoders raise many exception types, and their messages describe objects, not the file.
    except Exception as error:
        names = ", ".join(_FORMATS)
        raise ValueError(f"the picture cannot be read as {names}; is the file complete?") from error


def _flatten(picture: Any, paper: str) -> np.ndarray:
    """Return the grey levels of a picture with transparency on paper of one colour."""
    from PIL import Image

    layers = picture.convert("RGBA")
    grey = Image.new("L", layers.size, paper)
    grey.paste(layers.convert("L"), mask=layers.getchannel("A"))
    return np.asarray(grey)


def _has_contrast(grey: np.ndarray) -> bool:
    return bool(np.ptp(grey) >= 255 * _MIN_CONTRAST)


def _centre(ink: np.ndarray) -> np.ndarray:
    """Crop to the ink, scale the longer side to 20 pixels, and move the centre of mass to the middle."""
    from PIL import Image

    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX / max(cropped.shape)
    height, width = (max(1, round(size * scale)) for size in cropped.shape)
    small = Image.fromarray(cropped).resize(
        (width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    )
    digit = np.clip(np.asarray(small), 0, INK)
    top, left = (_offset(digit.sum(axis=1 - axis), SIDE) for axis in (0, 1))
    canvas = np.zeros((SIDE, SIDE), np.float32)
    canvas[top : top + height, left : left + width] = digit
    return canvas


def _offset(mass: np.ndarray, size: int) -> int:
    """Return the offset of a profile of masses that moves its centre of mass to the middle of `size` pixels.

    In MNIST the middle is pixel 14 of 28, counted from 0: the mean over its images is 14.0, not 13.5.
    """
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(size / 2 - centre), 0, size - len(mass)))
