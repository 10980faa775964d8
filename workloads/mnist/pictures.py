"""From a picture file to a digit as MNIST has them: 28 x 28 pixels, light ink on black, in the middle."""

from __future__ import annotations

import io

import numpy as np

SIDE = 28
INK = 255
_BOX = 20
"""A digit's longer side in MNIST; the rest is margin."""
_FAINT = 0.2
"""What is this much of the strongest ink or less is paper, a shadow or a JPEG's noise."""
_MOST_PIXELS = 16_000_000
"""A phone's photograph passes; a small file that unpacks to gigabytes does not."""


def read_picture(content: bytes) -> np.ndarray:
    """Return a PNG or JPEG file of any size and colour as a digit: float32 [28, 28], 0 paper to 255 ink.

    What the border mostly shows is the paper, so dark digits on light paper turn out right. A picture of
    28 x 28 pixels is taken as it is (turned round when its paper is light); any other is brought into the
    form of MNIST: the ink cut out, scaled into 20 x 20 pixels, its centre of mass in the middle. Raises
    ValueError, with a message for the caller, for what is no such file or shows nothing.
    """
    grey = _grey(content)
    paper = float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    if grey.shape == (SIDE, SIDE):
        return INK - grey if paper > INK / 2 else grey
    ink = np.abs(grey - paper)
    strongest = float(ink.max())
    if strongest < INK / 16:
        raise ValueError("the picture is blank: all of it is nearly as bright as its border")
    return _centred(np.where(ink > _FAINT * strongest, ink, 0) * (INK / strongest))


def _grey(content: bytes) -> np.ndarray:
    """Decode to brightness, float32 [height, width], 0 to 255; what is transparent is white."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise ValueError(
                    f"the picture has {opened.width} x {opened.height} pixels; send at most {_MOST_PIXELS:,}"
                )
            # Sixteen bits a pixel: Pillow would cut them off at 255.
            deep = opened.mode.startswith("I")
            picture = opened if deep else ImageOps.exif_transpose(opened)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            if deep:
                return np.asarray(picture, np.float32) / 257
            return np.asarray(picture.convert("L"), np.float32)
    # What Pillow says is about its own objects.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the picture cannot be read as PNG or JPEG; is the file whole?") from error


def _centred(ink: np.ndarray) -> np.ndarray:
    """Cut out what is inked, scale its longer side to 20, and put its centre of mass in the middle."""
    from PIL import Image

    down, across = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    cut = ink[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    scale = _BOX / max(cut.shape)
    height, width = (max(1, round(size * scale)) for size in cut.shape)
    small = Image.fromarray(cut).resize(
        (width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    )
    digit = np.clip(np.asarray(small), 0, INK)
    top, left = (_begin(digit.sum(axis=1 - axis), SIDE) for axis in (0, 1))
    placed = np.zeros((SIDE, SIDE), np.float32)
    placed[top : top + height, left : left + width] = digit
    return placed


def _begin(mass: np.ndarray, room: int) -> int:
    """Return where a row of masses begins so that their centre is in the middle of the room.

    In MNIST that is pixel 14 of 28, counted from 0: the mean over its pictures is 14.0, not 13.5.
    """
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(room / 2 - centre), 0, room - len(mass)))
