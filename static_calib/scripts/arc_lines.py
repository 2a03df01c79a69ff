"""ARC_LINE_LIST_<ARM>: the lamp lines of each order, with relative intensities and a judgement of blends.

Wavelengths come from laboratory atlases. Intensities are those of real exposures where there are any (X-shooter's
ThAr lamp) and laboratory estimates otherwise: good to a factor of a few. A line is blended when its neighbours,
as bright as listed, would pull a centroid taken at pinhole resolution by more than `BLEND_PULL` pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sources import Sources
from spectral_format import ION_NAMES, NIR_IONS, VIS_TABLE, pinhole_positions, spectral_format
from tables import column, table, write

from soxs_recipes.data.wavelengths import air_to_vacuum
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.model import Arm, Order

RESOLUTION = 6500.0  # of a pinhole: 2.3 px; the slit of 1 arcsec has 4500
BLEND_PULL = 0.04  # px
SAME_LINE = 0.006  # nm: atlases agree to this
FAINTEST = {"VIS": 0.01, "NIR": 0.06}  # of the order's third strongest line; NIR intensities are square roots
SEGMENTS = 12  # of an order: lines are chosen to cover each
PER_SEGMENT = 6


@dataclass
class Lines:
    """Atlas lines: ascending wavelength [nm, vacuum], ion, intensity, whether the instrument has shown them."""

    wavelength: np.ndarray
    ion: np.ndarray
    intensity: np.ndarray
    seen: np.ndarray

    def take(self, index: np.ndarray) -> Lines:
        """Some of the lines."""
        return Lines(self.wavelength[index], self.ion[index], self.intensity[index], self.seen[index])


def nearest(reference: np.ndarray, wavelengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index, distance) of the nearest of ascending `reference` for each wavelength."""
    if len(reference) == 1:
        return np.zeros(len(wavelengths), int), np.abs(reference[0] - wavelengths)
    right = np.clip(np.searchsorted(reference, wavelengths), 1, len(reference) - 1)
    index = np.where(wavelengths - reference[right - 1] < reference[right] - wavelengths, right - 1, right)
    return index, np.abs(reference[index] - wavelengths)


def merge_duplicates(lines: Lines, closer: float = SAME_LINE) -> Lines:
    """One line where several atlas entries stand closer than `closer` nm: the seen or stronger entry stays."""
    lines = lines.take(np.argsort(lines.wavelength, kind="stable"))
    keep = np.ones(len(lines.wavelength), bool)
    previous = 0
    for i in range(1, len(keep)):
        if lines.wavelength[i] - lines.wavelength[previous] < closer:
            better = (lines.seen[i], lines.intensity[i]) > (lines.seen[previous], lines.intensity[previous])
            keep[previous if better else i] = False
            previous = i if better else previous
        else:
            previous = i
    return lines.take(np.flatnonzero(keep))


# --- thorium and argon ---------------------------------------------------------------------------------------


def thorium_argon(sources: Sources) -> Lines:
    """ThAr: Murphy's selection and the NIST lines that it left out, on the scale of X-shooter's exposures."""
    murphy = sources.soxspipe_table("soxs/thar_murphy.fits")
    wavelength = air_to_vacuum(np.asarray(murphy["wave"], float))
    order = np.argsort(wavelength)
    wavelength = wavelength[order]
    ion = np.array([str(value).strip() for value in murphy["ion"]])[order]
    log_intensity = np.asarray(murphy["amplitude"], float)[order]

    nist_wavelength, nist_ion, amplitude = sources.pypeit_lines("ThAr_lines.dat")
    extra = (nearest(wavelength, nist_wavelength)[1] > 0.002) & (amplitude > 0)
    nist_ion = np.char.replace(nist_ion[extra], " ", "")
    seen_wavelength = air_to_vacuum(np.unique(np.asarray(sources.soxspipe_table(VIS_TABLE)["wavelength"], float)))
    seen = nearest(np.sort(seen_wavelength), wavelength)[1] < SAME_LINE / 6
    lines = Lines(
        np.concatenate([wavelength, nist_wavelength[extra]]),
        np.concatenate([ion, nist_ion]),
        np.concatenate([log_intensity, _murphy_scale(nist_ion, amplitude[extra])]),
        np.concatenate([seen, np.zeros(extra.sum(), bool)]),
    )
    lines = merge_duplicates(lines, closer=0.003)
    # Bright lines of the two lists agree with counts = 10**(Murphy - 1.15); fainter ones meet X-shooter's limit.
    observed = _xshooter_intensity(sources, lines.wavelength, lines.intensity)
    trusted = np.isfinite(observed) & (lines.intensity > 3.0)
    lines.intensity = np.where(trusted, observed, 10.0 ** (lines.intensity - 1.15))
    return lines


def _murphy_scale(ion: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Murphy's log intensity from NIST's relative intensity: medians of the lines that both list, per ion.

    The Ar I lines above 5000 are those of NIST's own scale, the brightest of the lamp.
    """
    log_amplitude = np.log10(amplitude)
    result = log_amplitude.copy()
    result[ion == "ThII"] -= 0.2
    result[ion == "ArI"] = np.where(
        amplitude[ion == "ArI"] > 5000, 6.0, np.minimum(log_amplitude[ion == "ArI"] + 3, 5)
    )
    result[ion == "ArII"] = np.minimum(0.8 * log_amplitude[ion == "ArII"] + 1.9, 4.5)
    return result


def _xshooter_intensity(sources: Sources, wavelength: np.ndarray, log_intensity: np.ndarray) -> np.ndarray:
    """Peak counts in X-shooter exposures, given to the strongest line within 0.02 nm; NaN where there is none."""
    observed = np.full(len(wavelength), np.nan)
    for name in ("ThAr_XSHOOTER_UVB_lines.dat", "ThAr_XSHOOTER_VIS_lines.dat"):
        for position, _, amplitude in zip(*sources.pypeit_lines(name), strict=True):
            first, last = np.searchsorted(wavelength, (position - 0.02, position + 0.02))
            if last > first:
                observed[first + np.argmax(log_intensity[first:last])] = amplitude
    return observed


# --- argon, mercury, neon, xenon -----------------------------------------------------------------------------


def noble_gases(sources: Sources, arm: Arm) -> Lines:
    """Ar, Hg, Ne, Xe: what the instrument has shown, then NIST lines by way of three line lists."""
    seen = _seen_in_the_infrared(sources, arm)
    parts = [seen]
    nirspec_wavelength, nirspec_ion, nirspec_amplitude = sources.pypeit_lines("NIRSPEC-ArNeKrXe_lines.dat")
    mixed = sources.soxspipe_table("xsh/ArHgNeXe.fits")
    mixed_wavelength = air_to_vacuum(np.asarray(mixed["wave"], float))
    mixed_ion = np.array([ION_NAMES.get(str(value).strip(), str(value).strip()) for value in mixed["ion"]])
    for ion in NIR_IONS:
        own = np.char.replace(nirspec_ion, " ", "") == ion
        parts.append(_lines(nirspec_wavelength[own], _compressed(nirspec_amplitude[own] / 225.0e3), ion))
        wavelength, relative = sources.nist_lines(ion)
        # NIST's relative intensities are of each ion's own scale: bring the brightest tenth to that of NIRSPEC.
        top = np.percentile(relative[wavelength > 780.0], 97.0)
        parts.append(_lines(wavelength, _compressed(relative / top), ion))
        # The mixed list gives most lines one nominal amplitude: they are known to exist, and that is all.
        exists = mixed_wavelength[mixed_ion == ion]
        parts.append(_lines(exists, np.full(len(exists), 0.002), ion))
    for part in parts[1:]:
        if len(part.wavelength) == 0:
            continue
        brightness = part.intensity[nearest(part.wavelength, seen.wavelength)[0]]
        matched = nearest(part.wavelength, seen.wavelength)[1] < SAME_LINE
        seen.intensity[matched] = np.maximum(seen.intensity[matched], brightness[matched])
    # A line that was seen is not invisible.
    seen.intensity[:] = np.maximum(seen.intensity, 0.03)
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Lines.__dataclass_fields__]
    return merge_duplicates(Lines(*joined), closer=0.012)


def _compressed(relative: np.ndarray) -> np.ndarray:
    """Square root, at most 1: laboratory intensities of unlike lamps say no more than the magnitude."""
    return np.sqrt(np.clip(relative, 0.0, 1.0))


def _lines(wavelength: np.ndarray, intensity: np.ndarray, ion: str) -> Lines:
    order = np.argsort(wavelength)
    return Lines(
        wavelength[order], np.full(len(wavelength), ion), intensity[order], np.zeros(len(wavelength), bool)
    )


def _seen_in_the_infrared(sources: Sources, arm: Arm) -> Lines:
    """Lines whose pinholes lie within 1.5 px of the smooth model: the rest are misidentified."""
    positions = pinhole_positions(sources, arm)
    model = spectral_format(sources, arm)
    x, _ = model.evaluate(positions["order"], positions["wavelength"], positions["slit"])
    residual = positions["x"] - x
    known = np.isin(positions["ion"], NIR_IONS)
    rows = []
    for wavelength in np.unique(positions["wavelength"][known]):
        own = known & (positions["wavelength"] == wavelength)
        if abs(np.median(residual[own])) < 1.5:
            rows.append((wavelength, positions["ion"][own][0]))
    wavelength = np.array([row[0] for row in rows])
    return Lines(wavelength, np.array([row[1] for row in rows]), np.zeros(len(rows)), np.ones(len(rows), bool))


# --- choice for each order -----------------------------------------------------------------------------------


def centroid_pull(wavelength: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """Shift [nm] that its neighbours give to each line's centroid, matched by a Gaussian of FWHM lambda/R.

    The cross-correlation of Gaussian lines with a Gaussian template of equal width sigma has, near a line, the
    slope sum r_i d_i exp(-d_i^2 / 4 sigma^2), with r the intensity ratios and d the distances of the neighbours.
    """
    pull = np.zeros(len(wavelength))
    for i, (centre, own) in enumerate(zip(wavelength, intensity, strict=True)):
        sigma = centre / RESOLUTION / 2.3548
        first, last = np.searchsorted(wavelength, (centre - 8 * sigma, centre + 8 * sigma))
        distance = wavelength[first:last] - centre
        ratio = intensity[first:last] / own
        terms = ratio * distance * np.exp(-((distance / sigma) ** 2) / 4)
        # Two bright neighbours, one at each side, do not make a clean line; the faint forest averages out.
        bright = ratio > 0.05
        pull[i] = np.abs(terms[bright]).sum() + abs(terms[~bright].sum())
    return pull


def choose(
    lines: Lines, order: Order, nm_per_pixel: np.ndarray, inside: np.ndarray, faintest: float
) -> tuple[np.ndarray, np.ndarray]:
    """(indices, blended) of the lines to list for an order.

    All that the instrument has shown, in each twelfth of the order the strongest unblended lines (the strongest at
    all where there is none), and every neighbour that touches any of these.
    """
    pull = centroid_pull(lines.wavelength, lines.intensity) / nm_per_pixel
    known = ~np.char.startswith(lines.ion, "UNK") & ~np.char.startswith(lines.ion, "XX")
    clean = (pull < BLEND_PULL) & inside & known
    strong = np.sort(lines.intensity[inside])[-3]
    bright = lines.intensity > faintest * strong
    edges = np.linspace(order.wavelength_min_full, order.wavelength_max_full, SEGMENTS + 1)
    chosen = list(np.flatnonzero(lines.seen & inside))
    for low, high in pairwise(edges):
        here = np.flatnonzero(clean & bright & (lines.wavelength >= low) & (lines.wavelength < high))
        ranked = here[np.argsort(-lines.intensity[here], kind="stable")]
        chosen += list(ranked[:PER_SEGMENT])
        if len(here) < 2:
            # Better a pair that must be modelled together than nothing.
            here = np.flatnonzero(inside & known & bright & (lines.wavelength >= low) & (lines.wavelength < high))
            chosen += list(here[np.argsort(-lines.intensity[here], kind="stable")][:2])
    chosen = np.unique(chosen)
    reach = 3.0 * lines.wavelength / RESOLUTION
    distance = np.abs(lines.wavelength[:, None] - lines.wavelength[None, chosen])
    touching = (distance < reach[:, None]) & (lines.intensity[:, None] > 0.02 * lines.intensity[None, chosen])
    listed = np.union1d(chosen, np.flatnonzero(touching.any(axis=1) & inside))
    blended = ~np.isin(listed, chosen) | (pull[listed] >= BLEND_PULL)
    return listed, blended


def rows_of_order(lines: Lines, arm: Arm, order: Order, model: object) -> dict[str, np.ndarray]:
    """Columns of the table for one order."""
    low, high = order.wavelength_min_full - 1.0, order.wavelength_max_full + 1.0
    lines = lines.take(np.flatnonzero((lines.wavelength > low) & (lines.wavelength < high)))
    surface = model.surface(order.number)
    along = np.array(surface.evaluate(lines.wavelength, 0.0))[1 - arm.dispersion_axis]
    pixels = arm.detector.science_shape()[arm.dispersion_axis]
    inside = (along > 2.0) & (along < pixels - 3.0)
    inside &= (lines.wavelength >= order.wavelength_min_full) & (lines.wavelength <= order.wavelength_max_full)
    derivative = np.array(surface.wavelength_derivative(lines.wavelength, 0.0))[1 - arm.dispersion_axis]
    listed, blended = choose(lines, order, 1.0 / np.abs(derivative), inside, FAINTEST[arm.name])
    intensity = lines.intensity[listed]
    return {
        "ORDER": np.full(len(listed), order.number, np.int16),
        "WAVELENGTH": lines.wavelength[listed],
        "ION": lines.ion[listed],
        "INTENSITY": intensity.astype(np.float32),
        "BLEND": blended,
        "SEEN": lines.seen[listed],
    }


def build(sources: Sources) -> None:
    """Write the lists of both arms."""
    for arm in load_instrument().arms:
        lines = noble_gases(sources, arm) if arm.echelle else thorium_argon(sources)
        model = spectral_format(sources, arm)
        parts = [rows_of_order(lines, arm, order, model) for order in arm.orders]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns["INTENSITY"] /= columns["INTENSITY"].max()
        hdu = table(
            "LINES",
            [column(name, values, "nm" if name == "WAVELENGTH" else "") for name, values in columns.items()],
            {
                "WAVELENGTH": "vacuum",
                "INTENSITY": "relative, good to a factor of a few",
                "BLEND": "a neighbour pulls its centroid",
                "SEEN": "in the instrument's pinhole tables",
            },
        )
        history = [
            f"Lamp lines per order of {', '.join(arm.arc_lamps)}; wavelengths in vacuum (air: Morton 2000).",
            f"BLEND: centroid pulled by more than {BLEND_PULL} px at R = {RESOLUTION:.0f}.",
        ]
        if arm.echelle:
            history.append("Wavelengths: NIST; intensities: square root of NIST's, on one scale per ion.")
        else:
            history.append(
                "Wavelengths: Murphy et al. 2007 MNRAS 378, 221; Lovis & Pepe 2007 A&A 468, 1115; NIST."
            )
            history.append("Intensities: X-shooter lamp exposures (PypeIt), Murphy's elsewhere.")
        write(f"ARC_LINE_LIST_{arm.name}", [hdu], sources.take(), history, arm.name)
