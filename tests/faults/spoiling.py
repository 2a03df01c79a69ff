"""Ways to spoil a frame."""

import numpy as np
from astropy.io import fits


def edited(source, target, *, data=None, cards=None, without=()):
    """A copy with other pixels or cards, its checksums right."""
    with fits.open(source) as hdus:
        pixels, header = hdus[0].data.copy(), hdus[0].header.copy()
    for key in ("CHECKSUM", "DATASUM", "BZERO", "BSCALE"):
        header.remove(key, ignore_missing=True)
    for key in without:
        header.remove(key)
    for key, value in (cards or {}).items():
        header[f"HIERARCH {key}" if " " in key else key] = value
    if data is not None:
        pixels = data(pixels)
    fits.PrimaryHDU(pixels, header).writeto(target, checksum=True)
    return target


def cut(source, target, length):
    """A copy of the first bytes; a negative length is what lacks at the end."""
    content = source.read_bytes()
    target.write_bytes(content[: length if length >= 0 else len(content) + length])
    return target


def flipped(source, target):
    """A copy with one bit of its data turned over."""
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 4
    target.write_bytes(content)
    return target


def all_zero(pixels):
    return np.zeros_like(pixels)


def all_nan(pixels):
    return np.full(pixels.shape, np.nan, np.float32)


def saturated(pixels):
    return np.full_like(pixels, 65535)


def constant(pixels):
    return np.full_like(pixels, 777)


def dead_quadrant(pixels):
    spoilt = pixels.copy()
    spoilt[: pixels.shape[0] // 2, : pixels.shape[1] // 2] = 0
    return spoilt
