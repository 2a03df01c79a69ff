"""Accuracy of nodding and offsetting: differences of exposures under a sky that changes, against the truth."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from measures import InformationBound, block_figures, products_by_tag, raw_names, robust_width

from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.fits_files import read_header, read_order_spectra
from soxs_recipes.instrument import load_instrument, static_calibration_path
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.simulator import simulate_night
from soxs_recipes.simulator.plans import PLANS, Pattern, Template

__all__ = ["BARS", "MEANS", "TITLE", "measure"]

TITLE = "Nod (ABBA with jitter) and offset (OSSO), supernova of magnitude 18 under a changing sky"
_MODES = ("nod", "offset")
BARS = {
    **{f"{mode} flux bias [%]": (0.3, "max") for mode in _MODES},
    **{f"{mode} flux pull width": (0.03, "near") for mode in _MODES},
    **{f"{mode} flux pull width, 10-bin sums": (0.03, "near") for mode in _MODES},
    **{f"{mode} S/N over bound of differences, off lines": (0.97, "min") for mode in _MODES},
    **{f"{mode} S/N over bound of differences, on lines": (0.97, "min") for mode in _MODES},
    **{f"{mode} sky residual width off lines": (1.03, "max") for mode in _MODES},
    **{f"{mode} sky residual width on lines": (1.15, "max") for mode in _MODES},
    "beams swapped: change [sigma]": (0.05, "max"),
    "exposures permuted: change [sigma]": (0.0, "max"),
    "1 % of pixels masked: shift [sigma]": (0.05, "max"),
}
# One sequence's noise is as large as these bars: 0.2 and 0.4 % in the NIR, 0.025 of widths in the UV-VIS.
MEANS = tuple(f"{mode} {name}" for mode in _MODES for name in ("flux bias [%]", "flux pull width, 10-bin sums"))
_NOD = Pattern("NOD", "ABBA", throw=5.0, jitter=1.0)
_OFFSET = Pattern("OFFSET", "OSSO", jitter=1.0, fixed_offset=(25.0, 15.0))


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Calibrations of one slit, a nod and an offset sequence per arm; reduced by the command that a user runs."""
    PLANS["accuracy-nod"] = _plan
    night = simulate_night(folder, seed=seed, plan="accuracy-nod")
    words = [sys.executable, "-m", "soxs_recipes.cli", "reduce", "all", str(folder), "--no-plots", "-q"]
    subprocess.run(words, check=False, stdout=subprocess.DEVNULL)
    products = products_by_tag(folder)
    results = {}
    for arm in ("VIS", "NIR"):
        figures: dict[str, float] = {}
        for path in products.get(f"SCI_SLIT_ORDER1D_{arm}", []):
            mode = _recipe_of(path).removeprefix("soxs_")
            if mode not in ("nod", "offset"):  # spectra whose wavelengths the line check moved
                continue
            figures |= {f"{mode} {name}": value for name, value in compared(path, night, mode).items()}
        results[arm] = figures
    results["VIS"] |= _unchanged(night, products, folder / "again")
    return results


def _recipe_of(product: Path) -> str:
    """The last recipe that worked on a product."""
    header = read_header(product)
    names = [f"HIERARCH ESO PRO REC{number} ID" for number in range(1, 10)]
    return str([header[name] for name in names if name in header][-1])


def _plan() -> list[Template]:
    templates = []
    for arm in ("VIS", "NIR"):
        dark = arm == "NIR"
        templates += [Template(arm, "dark", 5, exposure_time=time) for time in (20.0, 600.0)] if dark else []
        templates += [] if dark else [Template(arm, "bias", 5)]
        for kind, count in (("pinhole_arc", 1), ("pinhole_flat", 1), ("slit_flat", 5), ("multi_pinhole_arc", 1)):
            templates.append(Template(arm, kind, count, count if dark else 0, slit="SLIT1.0"))
        templates += [
            Template(arm, "science", slit="SLIT1.0", pattern=pattern, target=target, varying=True)
            for pattern, target in ((_NOD, "SN2026abd"), (_OFFSET, "SN2026abe"))
        ]
    return templates


def compared(product: Path, night, mode: str) -> dict[str, float]:
    """Extracted counts of a sequence against its truth and the bound of its differences."""
    records = sorted((night.record(name) for name in raw_names(product)), key=lambda record: record.index)
    lit = [record for record in records if record.beam != "S"]
    bounds = [_DifferenceBound(night, pair, mode == "nod") for pair in _pairs(records, mode)]
    arm = load_instrument().arm(records[0].arm)
    pulls, sums, off, on = [], [], [], []
    weighted, weight = 0.0, 0.0
    for spectrum in read_order_spectra(product):
        order, half = arm.order(spectrum.order), 0.5 * spectrum.bin_width
        edges = np.append(spectrum.wavelength - half, spectrum.wavelength[-1] + half[-1])
        expected = sum(night.tables(record).truth_counts(spectrum.order, edges) for record in lit)
        good = (spectrum.wavelength > order.wavelength_min) & (spectrum.wavelength < order.wavelength_max)
        good &= is_usable(spectrum.quality) & np.isfinite(expected) & np.isfinite(spectrum.variance)
        good &= expected > 0
        if good.sum() < 100:
            continue
        flux, counts, sigma = spectrum.flux[good], expected[good], np.sqrt(spectrum.variance[good])
        pulls.append((flux - counts) / sigma)
        bins = spectrum.order, spectrum.wavelength[good], spectrum.bin_width[good]
        each = [bound.signal_to_noise(*bins) for bound in bounds]
        bound, is_line = np.sqrt(sum(best**2 for best, _ in each)), each[0][1]
        # Weighted by what the bins could tell: stated errors go with the noise.
        weighted += float(((flux - counts) * bound**2 / counts).sum())
        weight += float((bound**2).sum())
        pull, _ = block_figures(flux - counts, counts, sigma, bound, spectrum.correlation[:, good])
        sums.append(pull)
        reached = counts / sigma / bound
        off.append(np.median(reached[~is_line]))
        if is_line.sum() > 20:
            on.append(np.median(reached[is_line]))
    header = read_header(product)
    figures = {
        "flux bias [%]": 100.0 * weighted / weight,
        "flux bias error [%]": 100.0 / np.sqrt(weight),
        "flux pull width": robust_width(np.concatenate(pulls)),
        "flux pull width, 10-bin sums": robust_width(np.concatenate(sums)),
        "S/N over bound of differences, off lines": float(np.median(off)),
        "sky residual width off lines": float(header["HIERARCH ESO QC SKYRES OFF"]),
        "sky residual width on lines": float(header["HIERARCH ESO QC SKYRES ON"]),
        "S/N median": float(header["HIERARCH ESO QC SNR MEDIAN"]),
    }
    if on:
        figures["S/N over bound of differences, on lines"] = float(np.median(on))
    return figures


def _pairs(records: Sequence, mode: str) -> list[tuple]:
    """Who is subtracted from whom: neighbours of opposite beams."""
    positive = "A" if mode == "nod" else "O"
    couples = [tuple(records[i : i + 2]) for i in range(0, len(records) - 1, 2)]
    return [pair if pair[0].beam == positive else pair[::-1] for pair in couples]


class _DifferenceBound:
    """Cramér-Rao bound of the light of both beams in a difference, the rest of the sky unknown at every bin."""

    def __init__(self, night, pair, both: bool):
        self.frames = [InformationBound.of_frame(night, record) for record in pair]
        self.both = both

    def signal_to_noise(self, order: int, wavelength: np.ndarray, width: np.ndarray):
        """Of the sum of the beams that count, per bin, and whether the bin lies on a sky line."""
        looked = [frame.along_slit(order, wavelength, width) for frame in self.frames]
        samples, pixels = looked[0][1:]
        variance = sum(images[2] for images, _, _ in looked)
        lights = [images[0] for images, _, _ in looked[: 2 if self.both else 1]]
        counts = [(light * samples).sum(axis=1) for light in lights]
        terms = [
            sign * light / total[:, None] for sign, light, total in zip((1, -1), lights, counts, strict=False)
        ]
        terms.append(np.ones_like(variance))
        fisher = np.array([[(samples * a * b / variance).sum(axis=1) for a in terms] for b in terms])
        inverse = np.linalg.inv(np.moveaxis(fisher, -1, 0))
        count = len(lights)
        spread = inverse[:, :count, :count].sum(axis=(1, 2)) / pixels
        level = np.median(looked[0][0][1], axis=1)
        return sum(counts) / np.sqrt(spread), level > 5 * np.percentile(level, 25)


def _unchanged(night, products, folder: Path) -> dict[str, float]:
    """What must not change the spectrum of a pair: beams swapped, exposures permuted, pixels masked."""
    (product,) = (path for path in products["SCI_SLIT_ORDER1D_VIS"] if "soxs_nod" in _recipe_of(path))
    pair = [night.path(night.record(name)) for name in sorted(raw_names(product))[:2]]
    tags = ("MASTER_BIAS", "MASTER_FLAT", "ORDER_TAB_EDGES", "DISP_TAB_2D")
    calibrations = [(str(products[f"{tag}_VIS"][0]), f"{tag}_VIS") for tag in tags]

    def reduced(name, paths, *more):
        frames = [(str(path), "OBJECT_NOD_VIS") for path in paths]
        run = run_recipe(recipe_class("soxs_nod"), [*frames, *calibrations, *more], {}, folder / name)
        (spectra,) = (item.path for item in run.products if item.tag == "SCI_SLIT_ORDER1D_VIS")
        return read_order_spectra(spectra)

    plain = reduced("plain", pair)
    swapped = reduced("swapped", _turned(pair, folder / "turned"))
    permuted = reduced("permuted", pair[::-1])
    masked = reduced("masked", pair, (str(_masked(folder)), "BP_MAP_REF_VIS"))
    changes = _changes(plain, permuted)
    return {
        "beams swapped: change [sigma]": float(np.median(np.abs(_changes(plain, swapped)))),
        "exposures permuted: change [sigma]": float(np.abs(changes).max()),
        "1 % of pixels masked: shift [sigma]": float(np.median(_changes(plain, masked))),
    }


def _changes(first, second) -> np.ndarray:
    changes = []
    for one, two in zip(first, second, strict=True):
        both = np.isfinite(one.variance) & np.isfinite(two.variance)
        changes.append(((two.flux - one.flux) / np.sqrt(one.variance))[both])
    return np.concatenate(changes)


def _turned(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copies whose offsets have the other sign: A is B."""
    folder.mkdir(parents=True)
    copies = []
    for path in paths:
        with fits.open(path) as hdus:
            hdus[0].header["ESO SEQ CUMOFF Y"] *= -1.0
            hdus.writeto(folder / path.name, checksum=True)
        copies.append(folder / path.name)
    return copies


def _masked(folder: Path) -> Path:
    """The map of known bad pixels with one in a hundred more."""
    path = folder / "BP_MAP_REF_VIS.fits"
    with fits.open(static_calibration_path("BP_MAP_REF_VIS")) as hdus:
        for hdu in hdus:
            if hdu.data is not None and hdu.data.ndim == 2:
                lost = np.random.default_rng(1).random(hdu.data.shape) < 0.01
                hdu.data = hdu.data | np.where(lost, int(QualityFlag.DEAD), 0).astype(hdu.data.dtype)
        hdus.writeto(path)
    return path
