"""SKY_LINE_LIST, SKY_CONTINUUM and TELLURIC_TRANSMISSION: the night sky, from observed lines and SkyCalc.

Line wavelengths are those of UVES (Hanuschik 2003) below 1000 nm and of the OH list that soxspipe ships beyond;
fluxes are those that make the lines, binned as SkyCalc bins, add up to SkyCalc's airglow.
"""

from __future__ import annotations

import numpy as np
from astropy.table import Table
from sources import Sources
from tables import column, table, write

from soxs_recipes.data.wavelengths import air_to_vacuum

LAST = 2150.0  # nm
JOIN = 1000.0  # nm, between the two lists
RESOLUTION = 4500.0
OXYGEN_BAND = (1253.0, 1290.0)  # nm: O2 at 1.27 um, absent from the lists, present in SkyCalc
# Median difference to X-shooter's list (nm), by range: the doublets' centres move with temperature.
ERRORS = ((1000.0, 0.002), (1350.0, 0.007), (np.inf, 0.015))


def line_positions(sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """(wavelength [nm, vacuum], relative flux) of all listed lines, ascending."""
    optical = sources.soxspipe_table("soxs/uves_skylines.fits")
    infrared = sources.soxspipe_table("soxs/skylines.fits")
    blue = np.asarray(optical["WAVELENGTH"], float) / 10.0
    red = np.asarray(infrared["WAVELENGTH"], float)
    blue_flux, red_flux = np.asarray(optical["FLUX"], float), np.asarray(infrared["FLUX"], float)
    # Hanuschik's faintest entries are the noise of his atlas.
    use_blue = (air_to_vacuum(blue) < JOIN) & (blue_flux > 0.3)
    use_red = (air_to_vacuum(red) >= JOIN) & (air_to_vacuum(red) < LAST - 1.0) & (red_flux > 0)
    wavelength = air_to_vacuum(np.concatenate([blue[use_blue], red[use_red]]))
    flux = np.concatenate([blue_flux[use_blue], red_flux[use_red]])
    order = np.argsort(wavelength, kind="stable")
    return wavelength[order], flux[order]


def merge_close(wavelength: np.ndarray, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flux-weighted centres of lines closer than half a pixel (0.02 nm, 0.035 nm beyond 1000 nm)."""
    closer = np.where(wavelength[1:] < JOIN, 0.02, 0.035)
    group = np.concatenate([[0], np.cumsum(np.diff(wavelength) > closer)])
    total = np.bincount(group, flux)
    return np.bincount(group, flux * wavelength) / total, total


def absolute_fluxes(
    wavelength: np.ndarray, flux: np.ndarray, sky: Table, iterations: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Line fluxes [photon/s/m2/arcsec2] that add up to SkyCalc's airglow; returns (fluxes, flux left per bin).

    Multiplicative updates (Richardson 1972, Lucy 1974) from the list's fluxes, scaled per 50 nm to start with:
    lines in one bin keep their ratio. A line at a bin's edge is shared with the next, for rounding of positions.
    """
    centre = np.asarray(sky["lam"], float)
    edges = np.concatenate([[centre[0]], np.sqrt(centre[1:] * centre[:-1]), [centre[-1]]])
    binned = np.asarray(sky["flux_ael"], float) * np.diff(edges) * 1e-3
    block = (wavelength // 50.0).astype(int)
    supply = np.bincount((centre // 50.0).astype(int), binned)
    demand = np.bincount(block, flux, minlength=len(supply))
    flux = flux * supply[block] / demand[block]

    index = np.searchsorted(edges, wavelength) - 1
    position = (wavelength - edges[index]) / (edges[index + 1] - edges[index])
    neighbour = np.where(position < 0.5, index - 1, index + 1)
    share = np.clip(0.5 - 5.0 * np.minimum(position, 1.0 - position), 0.0, 0.5)
    for _ in range(iterations):
        model = np.bincount(index, flux * (1 - share), len(centre)) + np.bincount(
            neighbour, flux * share, len(centre)
        )
        ratio = binned / np.maximum(model, 1e-30)
        flux = flux * (ratio[index] * (1 - share) + ratio[neighbour] * share)
    model = np.bincount(index, flux * (1 - share), len(centre)) + np.bincount(neighbour, flux * share, len(centre))
    return flux, binned - model


def isolated(wavelength: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Lines that hold 97 % of the line flux within 1.5 resolution elements, and are bright in their region."""
    result = np.zeros(len(wavelength), bool)
    for i, (centre, own) in enumerate(zip(wavelength, flux, strict=True)):
        reach = 1.5 * centre / RESOLUTION
        near = slice(*np.searchsorted(wavelength, (centre - reach, centre + reach)))
        region = slice(*np.searchsorted(wavelength, (centre - 25.0, centre + 25.0)))
        result[i] = own > 0.97 * flux[near].sum() and own > 0.02 * flux[region].max() and own > 0.05
    return result


def _lines(sources: Sources) -> None:
    wavelength, flux = merge_close(*line_positions(sources))
    sky = sources.skycalc()
    sky = sky[np.asarray(sky["lam"]) < LAST]
    flux, left = absolute_fluxes(wavelength, flux, sky)
    centre = np.asarray(sky["lam"], float)
    band = (centre > OXYGEN_BAND[0]) & (centre < OXYGEN_BAND[1]) & (left > 0.02)
    error = np.array([next(value for limit, value in ERRORS if line < limit) for line in wavelength])
    wavelength = np.concatenate([wavelength, centre[band]])
    flux = np.concatenate([flux, left[band]])
    # The band's members are bins, not lines: half a bin is what is known of their place.
    error = np.concatenate([error, 0.5 * centre[band] / 6000.0])
    order = np.argsort(wavelength, kind="stable")
    wavelength, flux, error = wavelength[order], flux[order], error[order]
    keep = flux > 1e-4
    wavelength, flux, error = wavelength[keep], flux[keep], error[keep]
    columns = [
        column("WAVELENGTH", wavelength, "nm"),
        column("WAVELENGTH_ERROR", error.astype(np.float32), "nm"),
        column("FLUX", flux.astype(np.float32), "photon s-1 m-2 arcsec-2"),
        column("ISOLATED", isolated(wavelength, flux)),
    ]
    history = [
        "Airglow lines, vacuum. Below 1000 nm: Hanuschik 2003, A&A 407, 1157.",
        "Beyond: OH list shipped by soxspipe (Rousselot et al. 2000, A&A 354, 1134).",
        "Lines closer than half a pixel are merged at their centre.",
        "Fluxes: SkyCalc 2.0.9 (Noll et al. 2012, A&A 543, A92), zenith, La Silla sky taken",
        "as Paranal's. Members of the O2 band at 1.27 um are SkyCalc bins.",
        "ISOLATED: 97 % of the line flux within 1.5 elements of R = 4500.",
    ]
    comments = {"WAVELENGTH": "vacuum", "ISOLATED": "fit to measure shifts"}
    write("SKY_LINE_LIST", [table("LINES", columns, comments)], sources.take(), history)


def _continuum(sources: Sources) -> None:
    sky = sources.skycalc()
    wavelength = np.asarray(sky["lam"], float)
    grid = np.arange(300.5, LAST, 1.0)
    group = np.clip((wavelength - 300.0).astype(int), 0, len(grid))
    count = np.bincount(group, minlength=len(grid) + 1)[: len(grid)]
    names = {
        "ZODIACAL": "flux_zl",
        "STARLIGHT": "flux_ssl",
        "AIRGLOW": "flux_arc",
        "MOON": "flux_sml",
        "ATMOSPHERE": "flux_tme",
        "TELESCOPE": "flux_tie",
    }
    columns = [column("WAVELENGTH", grid, "nm")]
    for name, source in names.items():
        total = np.bincount(group, np.asarray(sky[source], float), minlength=len(grid) + 1)[: len(grid)]
        columns.append(column(name, (total / count).astype(np.float32), "photon s-1 m-2 um-1 arcsec-2"))
    history = [
        "Sky continuum by component in bins of 1 nm, vacuum, zenith; MOON is of SkyCalc's",
        "default moon; ATMOSPHERE is the thermal emission of the lower atmosphere.",
        "SkyCalc 2.0.9: Noll et al. 2012, A&A 543, A92; Jones et al. 2013, A&A 560, A91.",
    ]
    write("SKY_CONTINUUM", [table("CONTINUUM", columns)], sources.take(), history)


def _transmission(sources: Sources) -> None:
    sky = sources.skycalc()
    sky = sky[np.asarray(sky["lam"]) < LAST]
    columns = [column("WAVELENGTH", np.asarray(sky["lam"], float), "nm")]
    for name, source in {"MOLECULES": "trans_ma", "OZONE": "trans_o3"}.items():
        columns.append(column(name, np.asarray(sky[source], np.float32)))
    scattering = np.asarray(sky["trans_rs"], float) * np.asarray(sky["trans_ms"], float)
    columns.append(column("SCATTERING", scattering.astype(np.float32)))
    history = [
        "Transmission at the zenith, 2640 m, 2.5 mm of water, bins of R = 6000, vacuum.",
        "SCATTERING is Rayleigh and aerosol together; the product of all is the sky's.",
        "SkyCalc 2.0.9: Noll et al. 2012, A&A 543, A92; Jones et al. 2013, A&A 560, A91.",
    ]
    write("TELLURIC_TRANSMISSION", [table("TRANSMISSION", columns)], sources.take(), history)


def build(sources: Sources) -> None:
    """Write the three tables."""
    _lines(sources)
    _continuum(sources)
    _transmission(sources)
