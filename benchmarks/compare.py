"""The accuracy of this pipeline and of the peer on the same simulated frames, by the same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measures import products_by_tag, raw_names, robust_width, through_slit

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.wavelengths import air_to_vacuum
from soxs_recipes.fits_files import read_header, read_merged_spectrum, read_table
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.product_plots import TELLURIC_BANDS
from soxs_recipes.simulator import load_truth
from soxs_recipes.simulator.truth import NightTruth

__all__ = ["compare_night"]

_BIN = 0.5  # nm
_LIGHT_SPEED = 299792.458  # km/s
_FAILED = (KeyError, IndexError, ValueError, OSError)  # a product that is not there is a finding


@dataclass(frozen=True)
class Spectrum:
    """A flux-calibrated spectrum: wavelengths [nm, vacuum], flux, its claimed error (NaN: none), raw frames."""

    wavelength: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    correlation: np.ndarray
    raw: tuple[str, ...]


def compare_night(raw: Path, ours: Path, peers: Path) -> list[dict[str, object]]:
    """Rows of (arm, product, figure, ours, peer); None where one has no such product."""
    night = load_truth(raw)
    own, other = _OwnNight(ours), _PeerNight(peers)
    rows = []
    for arm in ("VIS", "NIR"):
        for product, figures in _families(night, arm):
            values = [_measured(figures, side) for side in (own, other)]
            for figure in dict.fromkeys([*values[0], *values[1]]):
                found = {who: v.get(figure) for who, v in zip(("ours", "peer"), values, strict=True)}
                rows.append({"arm": arm, "product": product, "figure": figure, **found})
    return rows


def _measured(figures: Callable, side) -> Mapping[str, float]:
    try:
        return {name: float(value) for name, value in figures(side).items() if np.isfinite(value)}
    except _FAILED as error:
        print(f"  {type(side).__name__}: not measured ({type(error).__name__}: {error})")
        return {}


def _families(night: NightTruth, arm: str) -> Iterator[tuple[str, Callable]]:
    yield "wavelength of each pixel", lambda side: wavelength_figures(*side.maps(arm), night, arm)
    master = "bias" if arm == "VIS" else "dark"
    yield f"master {master}", lambda side: side.false_bad_pixels(night, arm, master)
    for mode in ("stare", "nod", "offset"):
        yield (
            f"{mode}, science",
            lambda side, mode=mode: spectrum_figures(side.science(arm, mode, night), night),
        )


def wavelength_figures(
    wavelength: np.ndarray, slit: np.ndarray, order: np.ndarray, raw: str, night: NightTruth, arm: str
) -> dict[str, float]:
    """Map of wavelengths [nm, vacuum] and slit positions against the optics, within 5 arcsec of mid-slit."""
    model, differences, velocities = night.model(raw), [], []
    axis = load_instrument().arm(arm).dispersion_axis
    for entry in load_instrument().arm(arm).orders:
        chosen = (order == entry.number) & np.isfinite(wavelength) & (wavelength > 0) & (np.abs(slit) < 5.0)
        chosen &= (wavelength > entry.wavelength_min) & (wavelength < entry.wavelength_max)
        y, x = np.nonzero(chosen)
        if y.size == 0:
            continue
        y, x = y[::17], x[::17]
        w, s = wavelength[y, x].astype(float), slit[y, x].astype(float)
        found = np.array(model.evaluate(entry.number, w, s))
        step = 1e-3
        slope = (np.array(model.evaluate(entry.number, w + step, s)) - found)[1 - axis] / step
        off = found[1 - axis] - (x, y)[1 - axis]
        differences.append(off)
        velocities.append(off / slope / w * _LIGHT_SPEED)
    everything = np.concatenate(differences)
    return {
        "rms along the dispersion [px]": np.sqrt(np.mean(everything**2)),
        "99th percentile [px]": np.percentile(np.abs(everything), 99),
        "rms [km/s]": np.sqrt(np.mean(np.concatenate(velocities) ** 2)),
    }


def spectrum_figures(spectrum: Spectrum, night: NightTruth) -> dict[str, float]:
    """Shape of the calibrated flux, measured signal-to-noise per exposure, and claimed over measured error."""
    record = night.record(spectrum.raw[0])
    truth = through_slit(spectrum.wavelength, night.tables(record))
    good = np.isfinite(spectrum.flux) & (spectrum.flux != 0) & (truth > 0)
    for low, high in TELLURIC_BANDS:
        good &= (spectrum.wavelength < low) | (spectrum.wavelength > high)
    for order in load_instrument().arm(record.arm).orders:
        # Merging differs near the ends of orders; neither is judged there.
        good &= np.abs(spectrum.wavelength - order.wavelength_min) > 1.0
    wide = _binned_ratio(spectrum, truth, good, 10.0)[0]
    ratio, claimed = _binned_ratio(spectrum, truth, good, _BIN)
    grey = np.median(wide)
    smooth = np.array([np.median(ratio[max(0, i - 7) : i + 8]) for i in range(ratio.size)])
    scatter, honesty = [], []
    for part in np.array_split(np.arange(ratio.size), max(1, ratio.size // 60)):
        width = robust_width(ratio[part] - smooth[part]) * np.sqrt(15.0 / 14.0)
        scatter.append(width / grey)
        honesty.append(np.median(claimed[part]) / width)
    return {
        "flux calibration rms, 10-nm bins [%]": 100.0 * robust_width(wide / grey),
        "signal-to-noise per 0.5 nm and exposure": np.median(1.0 / np.array(scatter)) / np.sqrt(len(spectrum.raw)),
        "claimed over measured error": np.median(honesty),
    }


def _binned_ratio(spectrum: Spectrum, truth: np.ndarray, good: np.ndarray, size: float):
    """(flux over truth, its claimed error) in full bins of some nm."""
    bins = np.floor(spectrum.wavelength / size).astype(int)
    bins -= bins.min()
    count = np.bincount(bins)
    chosen = np.bincount(bins, weights=good)
    full = (chosen > 0.8 * np.median(count)) & (count > 0)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(bins, weights=np.where(good, values, 0.0))[full]

    light = total(truth)
    shared = 2.0 * float(spectrum.correlation[:, good].mean(axis=1).sum())
    variance = total(spectrum.error**2) * (1.0 + shared)
    return total(spectrum.flux) / light, np.sqrt(np.maximum(variance, 0.0)) / light


class _OwnNight:
    """Products of this pipeline."""

    def __init__(self, folder: Path):
        self.products = products_by_tag(folder)

    def maps(self, arm: str):
        path = self.products[f"DISP_IMAGE_{arm}"][0]
        return *_images(path, ("WAVELENGTH", "SLIT", "ORDER")), raw_names(path)[0]

    def false_bad_pixels(self, night: NightTruth, arm: str, master: str) -> dict[str, float]:
        return _false_bad(self.products[f"MASTER_{master.upper()}_{arm}"], "QUAL", night, arm)

    def science(self, arm: str, mode: str, night: NightTruth) -> Spectrum:
        for path in self.products[f"SCI_SLIT_FLUX_MERGE1D_{arm}"]:
            names = tuple(raw_names(path))
            if _mode_of(read_header(night.path(night.record(names[0])))) == mode:
                merged = read_merged_spectrum(path)
                reached = (merged.quality & QualityFlag.NO_DATA) == 0
                error = np.where(reached & np.isfinite(merged.variance), np.sqrt(merged.variance), np.nan)
                flux = np.where(reached, merged.flux, np.nan)
                return Spectrum(merged.wavelength, flux, np.nan_to_num(error), merged.correlation, names)
        raise KeyError(f"no {mode} spectrum of {arm}")


class _PeerNight:
    """Products of the peer, found by its folders and names."""

    def __init__(self, folder: Path):
        self.folder, self.sets = (folder / "reduced").resolve(), folder / "sof"

    def _find(self, recipe: str, arm: str, ending: str) -> list[Path]:
        found = sorted(self.folder.glob(f"*/{recipe}/*_{arm}_*{ending}.fits"))
        if not found:
            raise KeyError(f"no {recipe} product *{ending} of {arm}")
        return found

    def maps(self, arm: str):
        path = self._find("soxs-spat-solution", arm, "_IMAGE")[0]
        wavelength, slit, order = _images(path, ("WAVELENGTH", "SLIT", "ORDER"))
        # 0 where it was not solved.
        return air_to_vacuum(np.where(wavelength > 0, wavelength, np.nan)), slit, order, _peer_raw(path)[0]

    def false_bad_pixels(self, night: NightTruth, arm: str, master: str) -> dict[str, float]:
        return _false_bad(self._find(f"soxs-m{master}", arm, "_SOXS"), "QUAL", night, arm)

    def science(self, arm: str, mode: str, night: NightTruth) -> Spectrum:
        path = self._find(f"soxs-{mode}", arm, "FLUXCAL")[0]
        flux = read_table(path, 1)
        extracted = sorted(path.parent.glob(path.name.replace("_FLUXCAL.fits", "_EXTRACTED_MERGED*.fits")))
        counts = read_table(next(one for one in extracted if "NOTFLAT" not in one.name), 1)
        signal = np.interp(flux["WAVE"], counts["WAVE"], counts["SNR"])
        value = np.asarray(flux["FLUX_CALIBRATED"], float)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.where(signal > 0, np.abs(value) / signal, 0.0)
        return Spectrum(
            air_to_vacuum(flux["WAVE"]), value, error, np.zeros((0, value.size)), self._exposures(path)
        )

    def _exposures(self, product: Path) -> tuple[str, ...]:
        """Raw frames behind a spectrum: headers of the peer name the first pair of several only."""
        name = product.name.replace("_FLUXCAL.fits", ".sof")
        lines = next(p for p in self.sets.glob("*.sof") if p.name.lower() == name.lower()).read_text().splitlines()
        names = [Path(line.split()[0]).name for line in lines if line.strip()]
        first = _peer_raw(product)
        return (*first, *(name for name in names if name.startswith("SOXS.") and name not in first))


def _images(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Images of a file by extension name; one that is not there is the primary image."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        return tuple(np.asarray((hdus[name] if name in hdus else hdus[0]).data, float) for name in names)


def _false_bad(paths: list[Path], extension: str, night: NightTruth, arm: str) -> dict[str, float]:
    """Share of good pixels that masters call bad [%], the worst of several."""
    detector = night.detector(arm)
    really_bad = detector.hot | detector.dead
    shares = []
    for path in paths:
        (quality,) = _images(path, (extension,))
        shares.append(100.0 * float(((quality != 0) & ~really_bad).mean()))
    return {"good pixels called bad [%]": max(shares)}


def _mode_of(header: Mapping[str, object]) -> str:
    technique = str(header["HIERARCH ESO DPR TECH"])
    return {"STARE": "stare", "NODDING": "nod", "OFFSET": "offset"}[technique.rsplit(",", 1)[-1]]


def _peer_raw(path: Path) -> list[str]:
    """Raw frames of a product of the peer, by base name."""
    header = read_header(path)
    names = [str(value) for key, value in header.items() if " RAW" in key and key.endswith(" NAME")]
    return [Path(name).name.replace("_pre", "") for name in names]
