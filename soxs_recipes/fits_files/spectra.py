"""Spectra as FITS: binary tables, a row a bin, a unit on every column that has one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from soxs_recipes.data.quality import describe_quality
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
from soxs_recipes.data.wavelengths import vacuum_to_air
from soxs_recipes.errors import InputError
from soxs_recipes.fits_files.reading import open_product
from soxs_recipes.fits_files.tables import columns_of, find_extension, table_hdu

__all__ = [
    "fits_unit",
    "merged_spectrum_hdus",
    "order_spectra_hdus",
    "our_unit",
    "read_merged_spectrum",
    "read_order_spectra",
    "spectra_hdus",
]

_FITS_UNITS = {
    "electron": "electron",
    "electron / nm": "electron nm-1",
    "erg / (s cm2 Angstrom)": "erg s-1 cm-2 Angstrom-1",
}
_OUR_UNITS = {fits_unit: unit for unit, fits_unit in _FITS_UNITS.items()}
_MERGED_NAME = "SPECTRUM"
_CORRELATION = "CORREL"
_COMMENTS = {
    "WAVE": "vacuum wavelength, as observed",
    "WAVE_AIR": "air wavelength, as observed",
    "WIDTH": "width of the bin",
    "FLUX": "optimal extraction",
    "ERR": "1 sigma of FLUX",
    "QUAL": "bit mask, see the comments below",
    "SKY": "sky under the object",
    "FLUX_BOX": "boxcar extraction",
    "ERR_BOX": "1 sigma of FLUX_BOX",
    "ERR_BACK": "part of ERR not from the object's photons",
    "TRACE": "position of the object on the slit",
    "ORDER": "order of largest weight, 0 for none",
}


def _comment(column: str) -> str:
    if column.startswith(_CORRELATION):
        return f"correlation of FLUX with that {column.removeprefix(_CORRELATION)} bin(s) on"
    return _COMMENTS[column]


def fits_unit(unit: str) -> str:
    """A unit of flux as FITS writes it."""
    return _FITS_UNITS.get(unit, unit)


def our_unit(unit: str) -> str:
    """A unit of flux in a FITS header as data objects call it."""
    return _OUR_UNITS.get(unit, unit)


def spectra_hdus(spectra: MergedSpectrum | Sequence[OrderSpectrum]) -> list[fits.hdu.base._BaseHDU]:
    """`merged_spectrum_hdus` or `order_spectra_hdus`, by what is given."""
    return merged_spectrum_hdus(spectra) if isinstance(spectra, MergedSpectrum) else order_spectra_hdus(spectra)


def order_spectra_hdus(spectra: Sequence[OrderSpectrum]) -> list[fits.hdu.base._BaseHDU]:
    """An empty primary HDU and one table an order, called ORDER_<number>.

    Bins without information (variance inf) are NaN in FLUX and ERR. Errors are kept to the bit, variances to
    one part in 2^52.
    """
    return [fits.PrimaryHDU(), *(_order_hdu(spectrum) for spectrum in spectra)]


def _order_hdu(spectrum: OrderSpectrum) -> fits.BinTableHDU:
    columns = {
        **_common_columns(spectrum),
        "FLUX_BOX": _blanked(spectrum.boxcar_flux, spectrum.boxcar_variance),
        "ERR_BOX": _sigma(spectrum.boxcar_variance),
        "ERR_BACK": _sigma(spectrum.background_variance),
        "TRACE": np.asarray(spectrum.trace, dtype=np.float64),
    }
    flux_columns = ("FLUX", "ERR", "SKY", "FLUX_BOX", "ERR_BOX", "ERR_BACK")
    hdu = _spectrum_hdu(f"ORDER_{spectrum.order}", columns, flux_columns, spectrum)
    hdu.header["ORDER"] = (spectrum.order, "order number")
    hdu.header["BAND"] = (spectrum.band, "name of the order")
    return hdu


def merged_spectrum_hdus(spectrum: MergedSpectrum) -> list[fits.hdu.base._BaseHDU]:
    """An empty primary HDU and the table SPECTRUM; bins that no order reaches are NaN in FLUX and ERR."""
    columns = {**_common_columns(spectrum), "ORDER": np.asarray(spectrum.order, dtype=np.int16)}
    return [fits.PrimaryHDU(), _spectrum_hdu(_MERGED_NAME, columns, ("FLUX", "ERR", "SKY"), spectrum)]


def _common_columns(spectrum: OrderSpectrum | MergedSpectrum) -> dict[str, np.ndarray]:
    wavelength = np.asarray(spectrum.wavelength, dtype=np.float64)
    return {
        "WAVE": wavelength,
        "FLUX": _blanked(spectrum.flux, spectrum.variance),
        "ERR": _sigma(spectrum.variance),
        "QUAL": np.asarray(spectrum.quality, dtype=np.int32),
        "SKY": np.asarray(spectrum.sky, dtype=np.float64),
        "WAVE_AIR": vacuum_to_air(wavelength),
        "WIDTH": np.asarray(spectrum.bin_width, dtype=np.float64),
        **{
            f"{_CORRELATION}{lag}": np.asarray(row, dtype=np.float32)
            for lag, row in enumerate(spectrum.correlation, start=1)
        },
    }


def _blanked(flux: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(variance), np.nan, np.asarray(flux, dtype=np.float64))


def _sigma(variance: np.ndarray) -> np.ndarray:
    sigma = np.sqrt(np.asarray(variance, dtype=np.float64))
    sigma[np.isinf(sigma)] = np.nan
    return sigma


def _spectrum_hdu(name, columns, flux_columns, spectrum) -> fits.BinTableHDU:
    unit = fits_unit(spectrum.flux_unit)
    units = dict.fromkeys(flux_columns, unit) | {"WAVE": "nm", "WAVE_AIR": "nm", "WIDTH": "nm"}
    if "TRACE" in columns:
        units["TRACE"] = "arcsec"
    hdu = table_hdu(name, columns, units, {key: _comment(key) for key in columns})
    hdu.header["SPECSYS"] = ("TOPOCENT", "wavelengths as observed")
    known = np.isfinite(spectrum.variance)
    for lag, row in enumerate(spectrum.correlation, start=1):
        mean = float(np.mean(row[known])) if known.any() else 0.0
        hdu.header[f"{_CORRELATION}{lag}"] = (mean, f"mean of the column {_CORRELATION}{lag}")
    for bit, flag, sentence in describe_quality():
        hdu.header.add_comment(f"QUAL bit {bit:2d} {flag}: {sentence}")
    return hdu


def read_order_spectra(path: str | Path) -> list[OrderSpectrum]:
    """Read what `order_spectra_hdus` made, in the file's order; InputError when it holds no order."""
    with open_product(path) as hdus:
        spectra = [_order_spectrum(hdu) for hdu in hdus if hdu.name.startswith("ORDER_")]
    if not spectra:
        raise InputError(f"{path}: holds no spectra of orders")
    return spectra


def _order_spectrum(hdu: fits.BinTableHDU) -> OrderSpectrum:
    columns = columns_of(hdu)
    boxcar_flux, boxcar_variance = _unblanked(columns["FLUX_BOX"], columns["ERR_BOX"])
    return OrderSpectrum(
        order=int(hdu.header["ORDER"]),
        band=str(hdu.header["BAND"]),
        boxcar_flux=boxcar_flux,
        boxcar_variance=boxcar_variance,
        background_variance=_unblanked(columns["ERR_BACK"], columns["ERR_BACK"])[1],
        trace=columns["TRACE"],
        **_common_fields(hdu, columns),
    )


def read_merged_spectrum(path: str | Path) -> MergedSpectrum:
    """Read what `merged_spectrum_hdus` made."""
    with open_product(path) as hdus:
        hdu = find_extension(hdus, _MERGED_NAME, path)
        columns = columns_of(hdu)
        return MergedSpectrum(order=columns["ORDER"], **_common_fields(hdu, columns))


def _common_fields(hdu: fits.BinTableHDU, columns: dict[str, np.ndarray]) -> dict[str, object]:
    flux, variance = _unblanked(columns["FLUX"], columns["ERR"])
    unit = _unit_of(hdu.header, "FLUX")
    lags = sorted(name for name in columns if name.startswith(_CORRELATION))
    correlation = np.array([columns[name] for name in lags], dtype=np.float64).reshape(len(lags), flux.size)
    return {
        "wavelength": columns["WAVE"],
        "bin_width": columns["WIDTH"],
        "flux": flux,
        "variance": variance,
        "sky": columns["SKY"],
        "quality": columns["QUAL"],
        "correlation": correlation,
        "flux_unit": our_unit(unit),
    }


def _unit_of(header: fits.Header, column: str) -> str:
    number = next(number for number in range(1, header["TFIELDS"] + 1) if header[f"TTYPE{number}"] == column)
    return str(header.get(f"TUNIT{number}", ""))


def _unblanked(flux: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flux (0 where there is none) and variance (inf there)."""
    blank = np.isnan(sigma)
    return np.where(blank, 0.0, flux), np.where(blank, np.inf, np.square(sigma))
