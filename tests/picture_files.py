"""The same picture in all forms of a picture file: formats, bit depths, colour types and transparency."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""The colour types of PNG."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, depth: int, colour_type: int, *chunks: bytes) -> bytes:
    """Return a PNG file with samples [height, width, channels] of `depth` bits, which Pillow cannot write."""
    height, width, _ = samples.shape
    rows = samples.reshape(height, -1).astype(np.uint16)
    bits = np.unpackbits(rows.astype(">u2").view(np.uint8).reshape(height, -1, 2), axis=2)[:, :, -depth:]
    packed = np.packbits(bits.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + line.tobytes() for line in packed)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(data)


def save(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    options = {"lossless": True} if file_format == "WEBP" else {}
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, file_format, **options)
    return buffer.getvalue()


def drawing(seed: int, height: int, width: int) -> np.ndarray:
    """Return dark ink with soft edges on white paper."""
    ink = np.zeros((6, 6))
    ink[1:5, 1:5] = np.random.default_rng(seed).integers(0, 256, (4, 4))
    ink[2, 2] = 255
    large = Image.fromarray(ink.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return 255 - np.asarray(large)


def lossless_forms(grey: np.ndarray) -> dict[str, bytes]:
    """Return files of a picture with dark ink on white paper, uint8 [height, width], by their description."""
    ink = 255 - grey.astype(int)
    one, wide = ink[..., None], grey.astype(int)[..., None] * 257
    black, white = np.zeros_like(one), np.full_like(one, 255)
    palette = chunk(b"PLTE", bytes(value for level in range(256) for value in (255 - level,) * 3))
    fade = chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(range(256)))
    return {
        "8 bits": save(grey),
        "16 bits": png(wide, 16, GREY),
        "16 bits from a scanner": png(5000 + grey.astype(int)[..., None] * 55000 // 255, 16, GREY),
        "white on black": save(ink),
        "white on black, 16 bits": png(one * 257, 16, GREY),
        "colour": save(np.dstack([grey] * 3)),
        "colour, 16 bits": png(np.dstack([wide] * 3), 16, RGB),
        "palette": png(one, 8, PALETTE, palette),
        "palette with transparency": png(one, 8, PALETTE, *fade),
        "black with opacity": png(np.dstack([black, one]), 8, GREY_ALPHA),
        "black with opacity, 16 bits": png(np.dstack([black, one]) * 257, 16, GREY_ALPHA),
        "black with opacity, colour": png(np.dstack([black] * 3 + [one]), 8, RGBA),
        "white with opacity": png(np.dstack([white] * 3 + [one]), 8, RGBA),
        "opaque": png(np.dstack([255 - one, white]), 8, GREY_ALPHA),
        "transparent white": png(255 - one, 8, GREY, chunk(b"tRNS", struct.pack(">H", 255))),
        "transparent white, 16 bits": png(wide, 16, GREY, chunk(b"tRNS", struct.pack(">H", 65535))),
        "transparent black": png(one, 8, GREY, chunk(b"tRNS", struct.pack(">H", 0))),
        "transparent white, colour": png(
            np.dstack([255 - one] * 3), 8, RGB, chunk(b"tRNS", struct.pack(">HHH", 255, 255, 255))
        ),
    }


def low_depth_forms(grey: np.ndarray, depth: int) -> dict[str, bytes]:
    """Return files with 1, 2 or 4 bits per pixel, and the file with 8 bits of the same levels."""
    largest = 2**depth - 1
    levels = np.rint(grey[..., None] / 255 * largest).astype(int)
    palette = chunk(b"PLTE", bytes(v for level in range(largest + 1) for v in (255 * level // largest,) * 3))
    return {
        "8 bits": save(levels[..., 0] * (255 // largest)),
        "grey": png(levels, depth, GREY),
        "white on black": png(largest - levels, depth, GREY),
        "palette": png(levels, depth, PALETTE, palette),
        "transparent white": png(levels, depth, GREY, chunk(b"tRNS", struct.pack(">H", largest))),
        "transparent black": png(largest - levels, depth, GREY, chunk(b"tRNS", struct.pack(">H", 0))),
    }


def blank_files(height: int, width: int) -> dict[str, bytes]:
    """Return files of pictures on which nothing is visible."""
    plain = np.ones((height, width, 1), int)
    noise = np.random.default_rng(0).integers(0, 10, (height, width, 1))
    return {
        "white": png(255 * plain, 8, GREY),
        "black": png(0 * plain, 8, GREY),
        "grey": png(90 * plain, 8, GREY),
        "white, 16 bits": png(65535 * plain, 16, GREY),
        "grey, 16 bits": png(30000 * plain, 16, GREY),
        "black, 1 bit": png(0 * plain, 1, GREY),
        "transparent": png(np.dstack([255 * plain] * 3 + [0 * plain]), 8, RGBA),
        "transparent black": png(0 * plain, 8, GREY, chunk(b"tRNS", struct.pack(">H", 0))),
        "half transparent": png(np.dstack([0 * plain, 128 * plain]), 8, GREY_ALPHA),
        "noise": png(240 + noise, 8, GREY),
        "noise, 16 bits": png(61000 + 257 * noise, 16, GREY),
    }
