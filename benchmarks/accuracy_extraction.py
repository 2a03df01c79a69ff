"""Exactness of the extraction itself: simulated exposures with true calibrations, compared with the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measures import InformationBound, _bin_edges, block_figures, robust_width
from true_exposures import TrueExposure, true_exposure

from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.reduction.extraction.extraction import ExposureResult

TITLE = "Extraction with true calibrations"

ARMS = ("VIS", "NIR")
_SCENES = ((16.0, 0.5), (18.0, 1.0), (20.0, 0.5), (20.0, 2.0))  # magnitude, seeing [arcsec]
_WITHOUT = (18.0, 1.0)  # the scene without cosmic rays, against which their cost is measured
_RATES = 10.0  # times the nominal number of cosmic rays

_NAMES = tuple(f"magnitude {magnitude:.0f}, {seeing:.1f} arcsec" for magnitude, seeing in _SCENES)
BARS: dict[str, tuple[float, str]] = {
    "flux bias, all scenes [%]": (0.3, "max"),
    "flux pull width": (0.03, "near"),
    "flux pull width, 10-bin sums": (0.03, "near"),
    "S/N over bound, off lines, worst scene": (0.97, "min"),
    "S/N over bound, on lines, worst scene": (0.97, "min"),
    "sky pull width off lines": (1.03, "max"),
    "sky pull width on lines": (1.15, "max"),
    "residual flux of lines [%]": (1.0, "max"),
    "S/N cost of 10 times the cosmic rays [%]": (2.0, "max"),
    "bins spoilt by 10 times the cosmic rays [%]": (0.1, "max"),
    "false rejections on the trace [%]": (0.1, "max"),
    "false rejections on the trace, 0.4 arcsec [%]": (0.1, "max"),
    "false rejections on lines [%]": (0.1, "max"),
    "false rejections elsewhere [%]": (0.1, "max"),
}
# A faint source's signal-to-noise goes with the width that was found for it: by 0.03 from seed to seed. In the
# cost of cosmic rays stand the widths of two sets of pulls, each known to 1 %.
MEANS = (
    "S/N over bound, off lines, worst scene",
    "S/N over bound, on lines, worst scene",
    "S/N cost of 10 times the cosmic rays [%]",
)


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """All figures of one seed; nothing is written to the folder."""
    return {arm: _measure_arm(arm, seed) for arm in ARMS}


def _measure_arm(arm: str, seed: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    samples: list[Sample] = []
    for name, (magnitude, seeing) in zip(_NAMES, _SCENES, strict=True):
        rate = 0.0 if (magnitude, seeing) == _WITHOUT else 1.0
        exposure = true_exposure(arm, seed, magnitude=magnitude, seeing=seeing, cosmic_rays=rate)
        result = exposure.extract()
        sample = Sample(exposure, result)
        samples.append(sample)
        figures |= {f"flux bias, {name} [%]": sample.bias, f"its error, {name} [%]": sample.bias_error}
        figures |= {f"S/N over bound, {where} lines, {name}": value for where, value in sample.reached.items()}
        if (magnitude, seeing) == _WITHOUT:
            clean = sample
            figures |= sky_figures(exposure, result)
    weights = np.array([sample.bias_error**-2 for sample in samples])
    figures["flux bias, all scenes [%]"] = float(np.average([sample.bias for sample in samples], weights=weights))
    figures["flux pull width"] = robust_width(np.concatenate([sample.pulls for sample in samples]))
    figures["flux pull width, 10-bin sums"] = robust_width(np.concatenate([s.block_pulls for s in samples]))
    for where in ("off", "on"):
        reached = [sample.reached[where] for sample in samples if where in sample.reached]
        if reached:
            figures[f"S/N over bound, {where} lines, worst scene"] = min(reached)
    return figures | _cosmic_ray_figures(arm, seed, clean)


class Sample:
    """What one exposure tells of fluxes and their errors.

    Attributes
    ----------
    bias, bias_error : float [%]
        Of all orders, weighted by the information that they could hold.
    pulls, block_pulls : ndarray
        Of single bins, and of sums over ten with the stated covariance.
    reached : {"off": float, "on": float}
        Median over orders of the median signal-to-noise of 10-bin sums over the bound, off and on sky lines.
    information : float
        Sum of (S/N)^2 by the stated errors over the bins that are usable.
    """

    def __init__(self, exposure: TrueExposure, result: ExposureResult):
        bound = InformationBound(
            exposure.model,
            exposure.arm,
            exposure.base_variance + exposure.light,
            exposure.light - exposure.sky,
            exposure.sky,
        )
        numbers, pulls, blocks = np.zeros(2), [], []
        self.information = 0.0
        by_order: dict[str, list[float]] = {"off": [], "on": []}
        for item in result.orders:
            spectrum = item.spectrum
            counts = exposure.truth.truth_counts(spectrum.order, _bin_edges(spectrum))
            good = is_usable(spectrum.quality) & np.isfinite(spectrum.variance) & (np.nan_to_num(counts) > 0)
            if good.sum() < 200:
                continue
            counts, difference = counts[good], (spectrum.flux - counts)[good]
            sigma = np.sqrt(spectrum.variance[good])
            best, is_line = bound.signal_to_noise(
                spectrum.order, spectrum.wavelength[good], spectrum.bin_width[good]
            )
            # Weighted by what the bins could tell: stated errors go with the noise.
            weight = (best / counts) ** 2
            numbers += (weight * difference * counts).sum(), (weight * counts**2).sum()
            pulls.append(difference / sigma)
            self.information += float(((counts / sigma) ** 2).sum())
            pull, ratio = block_figures(difference, counts, sigma, best, spectrum.correlation[:, good])
            lit = is_line[: ratio.size * 10].reshape(-1, 10).mean(axis=1)
            blocks.append(pull)
            for where, chosen in (("off", lit == 0), ("on", lit >= 0.5)):
                if chosen.sum() >= 5:
                    by_order[where].append(float(np.median(ratio[chosen])))
        self.bias, self.bias_error = float(100 * numbers[0] / numbers[1]), float(100 / np.sqrt(numbers[1]))
        self.pulls, self.block_pulls = np.concatenate(pulls), np.concatenate(blocks)
        self.reached = {where: float(np.median(values)) for where, values in by_order.items() if values}


def sky_figures(exposure: TrueExposure, result: ExposureResult) -> dict[str, float]:
    """Residuals over noise away from the object off and on lines, and the share of lines that is left.

    A line is where the sky stands over five times its continuum; what is left of it is the sum of the residuals
    over the slit, robust over those lines of which noise alone leaves less than a third of a per cent.
    """
    off, on, left = [], [], []
    for fit in result.fits:
        objects = fit.pixels.take(exposure.light - exposure.sky)
        away = fit.good & (objects < 0.05 * np.sqrt(fit.variance))
        sky = fit.pixels.take(exposure.sky)
        brightness = sky / fit.pixels.footprint
        level = np.percentile(brightness, 25)
        line = (brightness > 5 * level) & (sky < 15_000.0)
        pull = fit.residual / np.sqrt(fit.variance)
        off.append(pull[away & (brightness < 1.5 * level)])
        on.append(pull[away & line])
        left.append(_line_shares(fit, away & (brightness > 5 * level)))
    result_on = np.concatenate(on)
    figures = {"sky pull width off lines": robust_width(np.concatenate(off))}
    if result_on.size > 500:
        figures["sky pull width on lines"] = robust_width(result_on)
    shares = np.concatenate(left)
    if shares.size > 20:
        figures["residual flux of lines [%]"] = float(100 * robust_width(shares))
    return figures


def _line_shares(fit, chosen: np.ndarray) -> np.ndarray:
    """Residual over line light in each run of bins on a line, where noise leaves less than 0.33 %."""
    bins = np.rint(fit.pixels.position[chosen]).astype(int)
    lit = np.bincount(bins, minlength=fit.pixels.grid.size) > 5
    run = np.cumsum(np.diff(lit.astype(int), prepend=0) == 1)[bins]
    count = int(run.max(initial=0)) + 1
    residual, light, noise = (
        np.bincount(run, values[chosen], minlength=count) for values in (fit.residual, fit.sky, fit.variance)
    )
    known = np.sqrt(noise) < 0.0033 * light
    return residual[known] / light[known]


def _cosmic_ray_figures(arm: str, seed: int, clean: Sample) -> dict[str, float]:
    common = {"magnitude": 18.0, "seeing": 1.0}
    dirty = true_exposure(arm, seed, cosmic_rays=_RATES, **common)
    sharp = true_exposure(arm, seed, **(common | {"seeing": 0.4, "magnitude": 16.0}))
    dirty_result, sharp_result = dirty.extract(), sharp.extract()
    hit = Sample(dirty, dirty_result)
    widening = robust_width(hit.pulls) / robust_width(clean.pulls)
    figures = {
        "S/N cost of 10 times the cosmic rays [%]": float(
            100 * (1 - np.sqrt(hit.information / clean.information) / widening)
        ),
        "bins spoilt by 10 times the cosmic rays [%]": float(100 * np.mean(np.abs(hit.pulls) > 5.0)),
    }
    rejected = rejections(dirty, dirty_result)
    figures |= {f"false rejections {where} [%]": value for where, value in rejected.items()}
    figures["false rejections on the trace, 0.4 arcsec [%]"] = rejections(sharp, sharp_result)["on the trace"]
    return figures


def rejections(exposure: TrueExposure, result: ExposureResult) -> dict[str, float]:
    """Percentage of pixels masked that no particle hit: on the trace, on sky lines over 5 continua, elsewhere."""
    masked = (result.quality & np.int32(QualityFlag.COSMIC_RAY | QualityFlag.OUTLIER)) != 0
    counted = {"on the trace": np.zeros(2), "on lines": np.zeros(2), "elsewhere": np.zeros(2)}
    for fit in result.fits:
        unhit = fit.usable & (fit.pixels.take(exposure.cosmic_rays) <= 0)
        wrong = fit.pixels.take(masked) > 0
        profile = fit.profiles[0]
        near = np.abs(fit.pixels.slit - profile.centre_at(fit.pixels.position)) < profile.fwhm_at(
            fit.pixels.position
        )
        brightness = fit.pixels.take(exposure.sky) / fit.pixels.footprint
        line = brightness > 5 * np.percentile(brightness, 25)
        for where, chosen in (
            ("on the trace", near),
            ("on lines", line & ~near),
            ("elsewhere", ~line & ~near),
        ):
            counted[where] += (unhit & chosen & wrong).sum(), (unhit & chosen).sum()
    return {where: float(100 * hit / max(total, 1)) for where, (hit, total) in counted.items()}
