"""Convert an image file to the form of MNIST: 28 x 28 pixels, light ink on black, centred."""

from __future__ import annotations

import io

import numpy as np

SIDE = 28
INK = 255
_BOX = 20
"""The longer side of a digit in MNIST, in pixels, without the margin."""
_PAPER_SHARE = 0.2
"""Pixels with at most this share of the strongest ink count as paper: shadows and JPEG noise."""
_MAX_PIXELS = 16_000_000
"""Limit that accepts a phone's photograph and rejects a small file that decodes to gigabytes."""


def read_picture(content: bytes) -> np.ndarray:
    """Convert a PNG or JPEG file of any size and colour to float32 [28, 28], from 0 (paper) to 255 (ink).

    The median of the border is the colour of the paper. An image of 28 x 28 pixels is used as it is, inverted
    if its paper is light. Any other image is cropped to its ink, scaled into 20 x 20 pixels and centred by
    its centre of mass. Raises ValueError, with a message for the client, if the content is not such a file or
    the image is blank.
    """
    grey = _grey(content)
    paper = float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    if grey.shape == (SIDE, SIDE):
        return INK - grey if paper > INK / 2 else grey
    ink = np.abs(grey - paper)
    strongest = float(ink.max())
    if strongest < INK / 16:
        raise ValueError("the picture is blank: all pixels are nearly as bright as the border")
    return _centre(np.where(ink > _PAPER_SHARE * strongest, ink, 0) * (INK / strongest))


def _grey(content: bytes) -> np.ndarray:
    """Decode to grey levels, float32 [height, width], 0 to 255. Transparent pixels become white."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise ValueError(
                    f"the picture has {opened.width} x {opened.height} pixels; send at most {_MAX_PIXELS:,}"
                )
            # Pillow would clip pixels of sixteen bits to 255.
            is_16_bit = opened.mode.startswith("I")
            picture = opened if is_16_bit else ImageOps.exif_transpose(opened)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            if is_16_bit:
                return np.asarray(picture, np.float32) / 257
            return np.asarray(picture.convert("L"), np.float32)
    # Pillow's own messages describe its objects, not the file.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the picture cannot be read as PNG or JPEG; is the file complete?") from error


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
