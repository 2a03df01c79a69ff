"""What the TRACE product holds beside the trace: profiles, light along the slit, limits in bands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes.data.qc import QCParameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soxs_recipes.data.spectrum import OrderSpectrum
    from soxs_recipes.reduction.extraction.slit_light import SlitLight
    from soxs_recipes.reduction.profiles.slit_profile import SlitProfile

__all__ = [
    "has_slit_light",
    "limit_table",
    "profile_table",
    "read_profiles",
    "read_slit_light",
    "slit_light_table",
    "sources_table",
]

_TERMS = 4  # Legendre coefficients of centre and width


def sources_table(rows: Sequence[tuple], counted: str):
    """Sources on the slit, a row a source: (number of the exposure or difference, is the target, SlitSource)."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    return table_hdu(
        "SOURCES",
        {
            counted: np.array([row[0] for row in rows], np.int16),
            "TARGET": np.array([row[1] for row in rows]),
            "SLIT_POSITION": np.array([row[2].position for row in rows]),
            "FWHM": np.array([row[2].fwhm for row in rows]),
            "BRIGHTNESS": np.array([row[2].brightness for row in rows]),
            "SIGNIFICANCE": np.array([row[2].significance for row in rows]),
        },
        {"SLIT_POSITION": "arcsec", "FWHM": "arcsec", "BRIGHTNESS": "electron"},
        {"SIGNIFICANCE": "of the detection [sigma]; 0: position was given"},
    )


def profile_table(profiles: Mapping[int, SlitProfile]):
    """The target's profile in each order, a row an order; None without any."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu

    if not profiles:
        return None
    orders = sorted(profiles)
    kept = [profiles[order] for order in orders]
    size = max([1, *(p.correction.size for p in kept if p.correction is not None)])

    def padded(values, length):
        return np.concatenate([np.ravel(values), np.full(length - np.size(values), np.nan)])

    none = np.zeros(0)
    return table_hdu(
        "PROFILE",
        {
            "ORDER": np.array(orders, np.int16),
            "BINS": np.array([p.bins for p in kept], np.int32),
            "TAIL": np.array([p.tail for p in kept]),
            "OPTICS": np.array([p.optics for p in kept]),
            "CENTRE": np.array([padded(p.centre, _TERMS) for p in kept]),
            "LOG_WIDTH": np.array([padded(p.log_width, _TERMS) for p in kept]),
            "STEP": np.array([p.correction_step for p in kept]),
            "CORRECTION": np.array([padded(none if p.correction is None else p.correction, size) for p in kept]),
        },
        {"CENTRE": "arcsec", "OPTICS": "arcsec2"},
        {
            "BINS": "wavelength bins of the order",
            "TAIL": "1/beta of the Moffat function",
            "OPTICS": "variance of the optics' blur",
            "CENTRE": "Legendre coefficients along the order",
            "LOG_WIDTH": "same, of ln(FWHM / arcsec)",
            "STEP": "knots of the correction, in FWHM",
            "CORRECTION": "B-spline coefficients, even and sloped by turns",
        },
    )


def read_profiles(path: str | Path) -> dict[int, SlitProfile]:
    """Profiles by order from a TRACE product; InputError names the file that has none."""
    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.profiles.slit_profile import SlitProfile

    table = read_table(path, "PROFILE")
    profiles = {}
    for row in range(len(table["ORDER"])):
        centre, width, correction = (
            _without_padding(table[n][row]) for n in ("CENTRE", "LOG_WIDTH", "CORRECTION")
        )
        profiles[int(table["ORDER"][row])] = SlitProfile(
            centre,
            width,
            float(table["TAIL"][row]),
            int(table["BINS"][row]),
            correction.reshape(-1, 2) if correction.size else None,
            float(table["STEP"][row]),
            float(table["OPTICS"][row]),
        )
    return profiles


def _without_padding(values):
    import numpy as np

    values = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return values[np.isfinite(values)]


def slit_light_table(exposures: Sequence[Sequence[SlitLight]]):
    """Light along the slit of each exposure: of all orders (ORDER 0) and of each; None without any."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu
    from soxs_recipes.reduction.extraction.slit_light import mean_slit_light

    rows = [
        (number, item)
        for number, orders in enumerate(exposures, start=1)
        if orders
        for item in (mean_slit_light(orders), *orders)
    ]
    if not rows:
        return None
    most = max(1, *(len(item.sources) for _, item in rows))

    def column(name):
        return np.concatenate([getattr(item, name) for _, item in rows])

    sources = [np.vstack([i.sources, np.full((most - len(i.sources), i.slit.size), np.nan)]).T for _, i in rows]
    return table_hdu(
        "SLIT_LIGHT",
        {
            "EXPOSURE": np.concatenate([np.full(item.slit.size, number, np.int16) for number, item in rows]),
            "ORDER": np.concatenate([np.full(item.slit.size, item.order, np.int16) for _, item in rows]),
            "SLIT": column("slit"),
            "LIGHT": column("light"),
            "ERR": column("error"),
            "SOURCES": np.concatenate(sources),
        },
        {
            "SLIT": "arcsec",
            "LIGHT": "electron / arcsec",
            "ERR": "electron / arcsec",
            "SOURCES": "electron / arcsec",
        },
        {
            "ORDER": "0: mean of all orders",
            "LIGHT": "above the sky, per bin",
            "SOURCES": "model of each source",
        },
    )


def has_slit_light(path: str | Path) -> bool:
    """Whether a TRACE product holds light along the slit."""
    from soxs_recipes.fits_files.reading import open_product

    with open_product(path) as hdus:
        return "SLIT_LIGHT" in hdus


def read_slit_light(path: str | Path, exposure: int = 1) -> list[SlitLight]:
    """Light along the slit from a TRACE product, the mean of all orders first."""
    import numpy as np

    from soxs_recipes.fits_files import read_table
    from soxs_recipes.reduction.extraction.slit_light import SlitLight

    table = read_table(path, "SLIT_LIGHT")
    items = []
    for order in dict.fromkeys(int(value) for value in table["ORDER"]):
        chosen = (table["ORDER"] == order) & (table["EXPOSURE"] == exposure)
        sources = np.asarray(table["SOURCES"])[chosen]
        sources = sources.reshape(chosen.sum(), -1).T
        items.append(SlitLight(order, *(table[name][chosen] for name in ("SLIT", "LIGHT", "ERR")), sources))
    return items


def limit_table(
    counts: Sequence[OrderSpectrum], calibrated: Sequence[OrderSpectrum] | None, sigma: float, width: float
) -> tuple[object, list[QCParameter]]:
    """Mean flux, error and limit in bands, in counts and, where there is a response, in flux; and their QC."""
    import numpy as np

    from soxs_recipes.fits_files import table_hdu
    from soxs_recipes.reduction.extraction.limits import ab_magnitude, band_limits, bands_of

    found = band_limits(counts, bands := bands_of(counts, width), sigma)
    fluxes = band_limits(calibrated or (), bands, sigma)
    rows = [item for item in found if item is not None]
    paired = [flux for item, flux in zip(found, fluxes, strict=True) if item is not None]
    nothing = math.nan
    magnitudes = [nothing if p is None else ab_magnitude(p.limit, p.wavelength) for p in paired]
    table = table_hdu(
        "LIMITS",
        {
            "ORDER": np.array([item.order for item in rows], np.int16),
            "WAVE_MIN": np.array([item.low for item in rows]),
            "WAVE_MAX": np.array([item.high for item in rows]),
            "COUNTS": np.array([item.flux for item in rows]),
            "COUNTS_ERR": np.array([item.error for item in rows]),
            "SIGNIFICANCE": np.array([item.significance for item in rows]),
            "COUNTS_LIMIT": np.array([item.limit for item in rows]),
            "FLUX": np.array([nothing if p is None else p.flux for p in paired]),
            "FLUX_ERR": np.array([nothing if p is None else p.error for p in paired]),
            "FLUX_LIMIT": np.array([nothing if p is None else p.limit for p in paired]),
            "AB_LIMIT": np.array(magnitudes),
        },
        {
            "WAVE_MIN": "nm",
            "WAVE_MAX": "nm",
            **dict.fromkeys(("COUNTS", "COUNTS_ERR", "COUNTS_LIMIT"), "electron / nm"),
            **dict.fromkeys(("FLUX", "FLUX_ERR", "FLUX_LIMIT"), "erg / (s cm2 Angstrom)"),
            "AB_LIMIT": "mag",
        },
        {"COUNTS_LIMIT": f"what a source has at most, {sigma:g} sigma", "SIGNIFICANCE": "COUNTS over COUNTS_ERR"},
    )
    qc = [QCParameter("SIGNIFICANCE", _total_significance(rows))]
    for order in dict.fromkeys(item.order for item in rows):
        own = [k for k, item in enumerate(rows) if item.order == order]
        qc.append(QCParameter("SIGNIFICANCE", _total_significance([rows[k] for k in own]), order))
        qc.append(QCParameter("LIMIT COUNTS", float(np.median([rows[k].limit for k in own])), order))
        faint = [magnitudes[k] for k in own if math.isfinite(magnitudes[k])]
        if faint:
            qc.append(QCParameter("LIMIT AB", float(np.median(faint)), order))
    return table, qc


def _total_significance(rows) -> float:
    """Of the mean over bands, each weighted by its information."""
    weight = sum(item.error**-2.0 for item in rows)
    return sum(item.flux * item.error**-2.0 for item in rows) / math.sqrt(weight) if weight else math.nan
