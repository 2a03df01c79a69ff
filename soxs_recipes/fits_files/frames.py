"""Frames as FITS: FLUX in the primary HDU, then ERRS (1 sigma), QUAL, and SHARED when masters were used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import describe_quality
from soxs_recipes.fits_files.reading import open_mapped, open_product
from soxs_recipes.fits_files.tables import find_extension

__all__ = [
    "frame_of",
    "image_hdus",
    "native_array",
    "quality_hdus",
    "quality_header",
    "read_frame",
    "read_quality",
    "read_signal",
]

# FrameMeta's floats: attribute, keyword, comment.
_META_FLOATS = (
    ("exposure_time", "EXPTIME", "[s] exposure time"),
    ("mjd_start", "MJD-OBS", "[d] start of exposure (UTC)"),
    ("mjd_end", "MJD-END", "[d] end of exposure (UTC)"),
    ("gain", "GAIN", "[e-/ADU] electrons per unit"),
    ("read_noise", "RON", "[e-] read noise of one readout"),
    ("saturation", "SATURATE", "[e-] saturation above the bias"),
    ("airmass", "AIRMASS", "mean over the exposure"),
)
_PRIMARY_META = ("EXPTIME", "MJD-OBS", "MJD-END")


def image_hdus(frame: Frame, unit: str = "electron") -> list[fits.hdu.base._BaseHDU]:
    """FLUX (primary), ERRS, QUAL and, when there is one, SHARED (a variance).

    Data, errors, quality and shared variance are kept to the bit, the variance to one part in 2^23 (it is
    written as its root, so that it is what other programs expect).
    """
    primary = fits.PrimaryHDU(np.asarray(frame.data, dtype=np.float32))
    primary.header["EXTNAME"] = ("FLUX", "signal")
    primary.header["BUNIT"] = unit
    errors = fits.ImageHDU(np.sqrt(frame.variance, dtype=np.float32), name="ERRS")
    errors.header["BUNIT"] = (unit, "1 sigma")
    errors.header.extend(_meta_cards(frame.meta))
    for card in errors.header.cards:
        if card.keyword in _PRIMARY_META:
            primary.header.append(card)
    primary.header["NCOMBINE"] = (frame.meta.combined, "raw frames that went in")
    hdus = [
        primary,
        errors,
        fits.ImageHDU(np.asarray(frame.quality, dtype=np.int32), quality_header(), name="QUAL"),
    ]
    if frame.shared_variance is not None:
        shared = fits.ImageHDU(np.asarray(frame.shared_variance, dtype=np.float32), name="SHARED")
        shared.header["BUNIT"] = ("electron2" if unit == "electron" else "", "variance that comes from masters")
        hdus.append(shared)
    return hdus


def _meta_cards(meta: FrameMeta) -> list[fits.Card]:
    cards = [fits.Card("FRMNAME", meta.name.encode("ascii", "replace").decode(), "first frame's name")]
    for attribute, keyword, comment in _META_FLOATS:
        value = float(getattr(meta, attribute))
        if math.isfinite(value):
            cards.append(fits.Card(keyword, value, comment))
    cards.append(fits.Card("BINY", int(meta.binning[0]), "binning along axis 2"))
    cards.append(fits.Card("BINX", int(meta.binning[1]), "binning along axis 1"))
    cards.append(fits.Card("NCOMBINE", int(meta.combined), "raw frames that went in"))
    return cards


def quality_header() -> fits.Header:
    """Comments that name the bits."""
    header = fits.Header()
    header.add_comment("Bit mask of each pixel; 0 is a good pixel.")
    for bit, name, sentence in describe_quality():
        header.add_comment(f"bit {bit:2d} {name}: {sentence}")
    return header


def read_frame(path: str | Path, every: int = 1, *, verify: bool = True) -> Frame:
    """Read what `image_hdus` made.

    Parameters
    ----------
    path : path-like
    every : int
        Take one of so many pixels along either axis, as a figure needs; checksums are not verified then.
    verify : bool
        Verify checksums. What was written a moment ago need not be looked at whole again for a figure.

    Raises
    ------
    InputError
        There is no ERRS or no QUAL; the file is named. (A product of another program without SHARED has no shared
        variance.)
    """
    with _opened(path, every, verify=verify) as hdus:
        return frame_of(hdus, path, every)


def _opened(path: str | Path, every: int, *, verify: bool) -> fits.HDUList:
    return open_product(path) if every == 1 and verify else open_mapped(path)


def frame_of(hdus: fits.HDUList, path: str | Path, every: int = 1) -> Frame:
    """The frame of an open file, `path` for messages; see `read_frame`."""
    some = (slice(None, None, every),) * 2
    errors = find_extension(hdus, "ERRS", path)
    quality = find_extension(hdus, "QUAL", path)
    shared = native_array(hdus["SHARED"].data[some], np.float32) if "SHARED" in hdus else None
    variance = native_array(errors.data[some], np.float32)
    np.square(variance, out=variance)
    return Frame(
        native_array(hdus[0].data[some], np.float32),
        variance,
        native_array(quality.data[some], np.int32),
        _read_meta(hdus[0].header, errors.header),
        shared,
    )


def native_array(data: np.ndarray, dtype: type) -> np.ndarray:
    """A contiguous copy in this machine's byte order."""
    return data.astype(dtype, order="C")


def read_signal(path: str | Path, every: int = 1, *, verify: bool = True) -> np.ndarray:
    """FLUX of a frame alone (ny, nx) float32; `every` and `verify` as in `read_frame`."""
    with _opened(path, every, verify=verify) as hdus:
        return native_array(hdus[0].data[::every, ::every], np.float32)


def _read_meta(primary: fits.Header, errors: fits.Header) -> FrameMeta:
    values = {}
    for attribute, keyword, _ in _META_FLOATS:
        value = errors.get(keyword, primary.get(keyword))
        if isinstance(value, int | float):
            values[attribute] = float(value)
    return FrameMeta(
        name=str(errors.get("FRMNAME", "")),
        binning=(int(errors.get("BINY", 1)), int(errors.get("BINX", 1))),
        combined=int(errors.get("NCOMBINE", primary.get("NCOMBINE", 1))),
        **values,
    )


def quality_hdus(quality: np.ndarray) -> list[fits.hdu.base._BaseHDU]:
    """A bad-pixel map: the quality bits in the primary HDU (ndarray (ny, nx) int32)."""
    header = quality_header()
    header["EXTNAME"] = "QUAL"
    return [fits.PrimaryHDU(np.asarray(quality, dtype=np.int32), header)]


def read_quality(path: str | Path) -> np.ndarray:
    """Quality bits (ny, nx) int32 of a bad-pixel map or of a frame's QUAL extension."""
    with open_product(path) as hdus:
        hdu = hdus["QUAL"] if "QUAL" in hdus else hdus[0]
        return native_array(hdu.data, np.int32)
