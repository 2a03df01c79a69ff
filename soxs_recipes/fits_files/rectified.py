"""Straightened images as FITS: planes FLUX, ERRS, ERRSUM, QUAL, COVER, CORREL and SKY, with a linear WCS.

The merged orders of an arm have FLUX in the primary HDU; single orders have an empty primary and all planes with
their number behind the name (FLUX_13).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.rectified_image import RectifiedImage
from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.frames import native_array, quality_header
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.spectra import fits_unit, our_unit
from soxs_recipes.fits_files.tables import find_extension

__all__ = ["read_rectified_images", "rectified_hdus"]


def rectified_hdus(images: RectifiedImage | Sequence[RectifiedImage]) -> list[fits.hdu.base._BaseHDU]:
    """HDUs of a merged image, or of the orders of an arm.

    Bins without information are NaN in FLUX, ERRS and ERRSUM. Errors are written as single precision.
    """
    if isinstance(images, RectifiedImage):
        flux, *others = _planes(images, "")
        return [fits.PrimaryHDU(flux.data, flux.header), *others]
    orders = [_planes(image, f"_{image.order}") for image in images]
    return [fits.PrimaryHDU(), *(hdu for planes in orders for hdu in planes)]


def _planes(image: RectifiedImage, ending: str) -> list[fits.ImageHDU]:
    blank = ~image.known
    unit = fits_unit(image.unit)
    hdus = [
        _plane(f"FLUX{ending}", np.where(blank, np.nan, image.flux), unit, image),
        _plane(f"ERRS{ending}", _sigma(image.variance), unit, image, "1 sigma of a bin by itself"),
        _plane(f"ERRSUM{ending}", _sigma(image.sum_variance), unit, image, "to add in quadrature over many bins"),
        fits.ImageHDU(image.quality.astype(np.int32), _with_wcs(quality_header(), image), name=f"QUAL{ending}"),
        _plane(f"COVER{ending}", image.coverage, "", image, "share of the bin that pixels cover"),
        _correlation(image, ending),
    ]
    if image.sky is not None:
        hdus.append(_plane(f"SKY{ending}", np.where(blank, np.nan, image.sky), unit, image, "was subtracted"))
    hdus[0].header["NOISEFAC"] = (image.noise_factor, "error of large sums over root sum of ERRS**2")
    if image.order:
        hdus[0].header["ORDER"] = (image.order, "order number")
        hdus[0].header["BAND"] = (image.band, "name of the order")
    return hdus


def _sigma(variance: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(variance), np.sqrt(variance), np.nan)


def _plane(name, values, unit, image, comment="") -> fits.ImageHDU:
    hdu = fits.ImageHDU(np.asarray(values, dtype=np.float32), name=name)
    if unit:
        hdu.header["BUNIT"] = (unit, comment)
    elif comment:
        hdu.header.comments["EXTNAME"] = comment
    _with_wcs(hdu.header, image)
    return hdu


def _with_wcs(header: fits.Header, image: RectifiedImage) -> fits.Header:
    for axis, kind, unit, start, step, comment in (
        (1, "WAVE", "nm", image.wavelength_start, image.wavelength_step, "vacuum wavelength, as observed"),
        (2, "LINEAR", "arcsec", image.slit_start, image.slit_step, "position on the slit, 0 in its middle"),
    ):
        header[f"CTYPE{axis}"] = (kind, comment)
        header[f"CUNIT{axis}"] = unit
        header[f"CRPIX{axis}"] = 1.0
        header[f"CRVAL{axis}"] = start
        header[f"CDELT{axis}"] = step
    header["SPECSYS"] = ("TOPOCENT", "wavelengths as observed")
    return header


def _correlation(image: RectifiedImage, ending: str) -> fits.ImageHDU:
    """Cube of mean correlations: steps along the wavelength, along the slit, stretch of columns."""
    hdu = fits.ImageHDU(np.asarray(image.correlation, dtype=np.float32), name=f"CORREL{ending}")
    segments, rows, columns = image.correlation.shape
    length = -(-image.shape[1] // segments)
    middle = image.wavelength_start + 0.5 * (length - 1) * image.wavelength_step
    for axis, (pixel, value, step, name) in enumerate(
        (
            (columns // 2 + 1, 0.0, 1.0, "columns apart"),
            (rows // 2 + 1, 0.0, 1.0, "rows apart"),
            (1, middle, length * image.wavelength_step, "[nm] middle of the stretch"),
        ),
        start=1,
    ):
        hdu.header[f"CTYPE{axis}"] = ("LINEAR", name)
        hdu.header[f"CRPIX{axis}"] = float(pixel)
        hdu.header[f"CRVAL{axis}"] = value
        hdu.header[f"CDELT{axis}"] = step
    return hdu


def read_rectified_images(path: str | Path) -> list[RectifiedImage]:
    """Read what `rectified_hdus` made, in the file's order; InputError when it holds no such image."""
    with open_product(path) as hdus:
        held = {hdu.name: hdu for hdu in hdus}  # a list of HDUs searches its names anew each time
        endings = [found[1] for name in held if (found := re.fullmatch(r"FLUX(|_\d+)", name))]
        images = [_image(hdus, held, ending, path) for ending in endings if f"COVER{ending}" in held]
    if not images:
        raise InputError(f"{path}: holds no straightened image")
    return images


def _image(hdus: fits.HDUList, held: dict[str, fits.hdu.base._BaseHDU], ending: str, path) -> RectifiedImage:
    def plane(name, dtype=np.float32):
        hdu = held.get(f"{name}{ending}") or find_extension(hdus, f"{name}{ending}", path)
        return native_array(hdu.data, dtype)

    header = held[f"FLUX{ending}"].header
    flux, errors, sums = plane("FLUX"), plane("ERRS", np.float64), plane("ERRSUM", np.float64)
    blank = np.isnan(errors)
    sky = plane("SKY") if f"SKY{ending}" in held else None
    return RectifiedImage(
        order=int(header.get("ORDER", 0)),
        band=str(header.get("BAND", "")),
        wavelength_start=float(header["CRVAL1"]),
        wavelength_step=float(header["CDELT1"]),
        slit_start=float(header["CRVAL2"]),
        slit_step=float(header["CDELT2"]),
        flux=np.where(blank, np.float32(0.0), flux),
        variance=np.where(blank, np.inf, errors**2),
        sum_variance=np.where(blank, np.inf, sums**2),
        quality=plane("QUAL", np.int32),
        coverage=plane("COVER"),
        correlation=plane("CORREL"),
        unit=our_unit(str(header.get("BUNIT", ""))),
        sky=None if sky is None else np.where(blank, np.float32(0.0), sky),
    )
