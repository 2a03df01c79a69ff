"""Zero point and scale of wavelengths from sky lines, all orders together and order by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from soxs_recipes.reduction.flexure.line_positions import line_positions

__all__ = [
    "LineResiduals",
    "SkyLines",
    "SkySpectrum",
    "ZeroPoint",
    "combine_residuals",
    "measure_lines",
    "resolving_powers",
    "robust_mean",
    "weighted_mean",
]

_FEWEST_LINES = 3
_LARGEST_ERROR = 0.25  # px
_FLOOR = 0.02  # px: blends and catalogue
_FEWEST_FOR_SCALE = 8
_NEAR = 1.5  # bins about the common shift in which a line is looked for
_CONTINUUM_WINDOW = 41  # bins
_CAP = 30.0  # sigma above which brighter lines weigh no more in the first search
_PIXEL = 2.3548**2 / 12.0  # px^2: what a pixel's width adds to the square of a FWHM
_ENDS = 8  # bins at either end of an order in which no line is measured


@dataclass(frozen=True, slots=True)
class SkyLines:
    """A list of sky lines.

    Attributes
    ----------
    wavelength, error : ndarray (n,) [nm, vacuum]
    isolated : ndarray (n,) bool or None
        Lines without a neighbour in a narrow slit; None for all.
    brightness : ndarray (n,) or None
        Relative; needed for wide slits.
    """

    wavelength: np.ndarray
    error: np.ndarray
    isolated: np.ndarray | None = None
    brightness: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class SkySpectrum:
    """The sky of one order.

    Attributes
    ----------
    order : int
    wavelength : ndarray (n,) [nm, vacuum]
        Ascending, a bin a pixel.
    bin_width : ndarray (n,) [nm]
    sky, error : ndarray (n,)
    direction : float
        +1 where wavelength rises with the pixel coordinate, -1 where it falls.
    tilt : ndarray (n,) or float
        By how many pixels along the dispersion a line moves, in the direction of rising coordinate, when all
        light moves by one pixel across.
    """

    order: int
    wavelength: np.ndarray
    bin_width: np.ndarray
    sky: np.ndarray
    error: np.ndarray
    direction: float = 1.0
    tilt: np.ndarray | float = 0.0

    def position(self, wavelength: np.ndarray) -> np.ndarray:
        """Position [bins] of wavelengths [nm]."""
        return np.interp(wavelength, self.wavelength, np.arange(self.wavelength.size))


@dataclass(frozen=True, slots=True)
class LineResiduals:
    """What was measured of every line that was seen, an entry a line and order.

    Attributes
    ----------
    order : ndarray (n,) int
    wavelength : ndarray (n,) [nm]
        Listed.
    coordinate : ndarray (n,)
        Place along the order, -1 to 1 in the direction of rising pixel coordinate.
    shift, error : ndarray (n,) [px]
        Measured minus expected in the direction of rising pixel coordinate, after what a shift across explains;
        the error holds that of the listed wavelength.
    pixel : ndarray (n,) [nm]
        Width of a pixel, with the sign of `direction`.
    fwhm : ndarray (n,) [px]
    used : ndarray (n,) bool
        Not an outlier.
    """

    order: np.ndarray
    wavelength: np.ndarray
    coordinate: np.ndarray
    shift: np.ndarray
    error: np.ndarray
    pixel: np.ndarray
    fwhm: np.ndarray
    used: np.ndarray

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.shift.size


@dataclass(frozen=True, slots=True)
class ZeroPoint:
    """Shift along the dispersion.

    Attributes
    ----------
    shift, error : float [px]
        In the direction of rising pixel coordinate; NaN without lines.
    lines : int
    order_shift : dict order -> (shift, error, lines)
    scatter : float [px]
        Robust scatter of the lines about the shift.
    fwhm : float [px]
        Median of the lines used.
    scale, scale_error : float [px]
        What a linear change adds at the end of an order; NaN when the lines do not tell.
    residuals : LineResiduals or None
    by_template : bool
        All lines of an order were measured as one: `lines` and `residuals` count orders.
    """

    shift: float
    error: float
    lines: int
    order_shift: dict[int, tuple[float, float, int]]
    scatter: float
    fwhm: float
    scale: float = float("nan")
    scale_error: float = float("nan")
    residuals: LineResiduals | None = field(default=None, repr=False)
    by_template: bool = False

    @property
    def is_significant(self) -> bool:
        """Beyond 2 sigma and 0.05 px, told by three lines or more, or by the template of an order."""
        told = self.lines >= (1 if self.by_template else _FEWEST_LINES) and self.error < _LARGEST_ERROR
        return bool(told and abs(self.shift) > max(2.0 * self.error, 0.05))

    @classmethod
    def unknown(cls) -> ZeroPoint:
        """Without any line."""
        nan = float("nan")
        return cls(nan, nan, 0, {}, nan, nan)


def measure_lines(
    spectra: Sequence[SkySpectrum], lines: SkyLines, *, search: float = 3.0, across: float = 0.0
) -> LineResiduals | None:
    """Where the isolated lines of a list fall in the spectra of an arm.

    All orders together tell first by how much the lines are shifted about; each line is then looked for near its
    expected place, so that neither a line of the target nor a cosmic ray within `search` is taken for it.

    Parameters
    ----------
    spectra : sequence of SkySpectrum
    lines : SkyLines
    search : float [px]
        Largest shift that is looked for.
    across : float [px]
        Known shift across the dispersion.

    Returns
    -------
    LineResiduals or None
        None when no line is seen.
    """
    about = _first_shift(spectra, lines, search)
    isolated = np.ones(lines.wavelength.size, bool) if lines.isolated is None else lines.isolated
    found: dict[str, list[np.ndarray]] = {name: [] for name in LineResiduals.__slots__ if name != "used"}
    for spectrum in spectra:
        low, high = spectrum.wavelength[_ENDS], spectrum.wavelength[-_ENDS - 1]
        chosen = np.flatnonzero(isolated & (lines.wavelength > low) & (lines.wavelength < high))
        if chosen.size == 0:
            continue
        expected = spectrum.position(lines.wavelength[chosen])
        offset = spectrum.direction * about
        near = min(search, _NEAR) if search > _NEAR else search
        measured, sigma, fwhm = line_positions(spectrum.sky, spectrum.error, expected + offset, search=near)
        seen = np.isfinite(measured)
        bins = np.arange(spectrum.wavelength.size)
        pixel = np.interp(expected, bins, spectrum.bin_width)
        tilt = np.interp(expected, bins, np.broadcast_to(spectrum.tilt, bins.shape))
        values = {
            "order": np.full(chosen.size, spectrum.order),
            "wavelength": lines.wavelength[chosen],
            "coordinate": spectrum.direction * (2.0 * expected / (bins.size - 1) - 1.0),
            "shift": spectrum.direction * (measured - expected) - tilt * across,
            "error": np.hypot(sigma, lines.error[chosen] / pixel),
            "pixel": spectrum.direction * pixel,
            "fwhm": fwhm,
        }
        for name, column in values.items():
            found[name].append(column[seen])
    columns = {name: np.concatenate(parts) for name, parts in found.items() if parts}
    if not columns or columns["shift"].size == 0:
        return None
    return LineResiduals(**columns, used=np.ones(columns["shift"].size, dtype=bool))


def _first_shift(spectra: Sequence[SkySpectrum], lines: SkyLines, search: float) -> float:
    """Shift [px] at which most light falls where lines are listed, all orders together; good to half a pixel."""
    if search <= _NEAR:
        return 0.0
    reach = int(np.ceil(search))
    lags = np.arange(-reach, reach + 1)
    total = np.zeros(lags.size)
    brightness = np.ones(lines.wavelength.size) if lines.brightness is None else lines.brightness
    for spectrum in spectra:
        size = spectrum.wavelength.size
        excess = spectrum.sky - median_filter(spectrum.sky, size=min(_CONTINUUM_WINDOW, size), mode="nearest")
        light = np.clip(np.nan_to_num(excess / spectrum.error), -3.0, _CAP)
        inside = (lines.wavelength > spectrum.wavelength[0]) & (lines.wavelength < spectrum.wavelength[-1])
        if not inside.any():
            continue
        place = np.rint(spectrum.position(lines.wavelength[inside])).astype(np.int64)
        strength = np.sqrt(np.maximum(brightness[inside], 0.0))
        template = gaussian_filter1d(np.bincount(place, strength, minlength=size), 1.0)
        template -= template.mean()
        padded = np.pad(light, reach)
        windows = np.lib.stride_tricks.sliding_window_view(padded, size)
        total += (windows @ template)[:: int(spectrum.direction)]
    top = int(np.argmax(total))
    if not 0 < top < lags.size - 1:
        return float(np.clip(lags[top], -search, search)) if np.any(total) else 0.0
    before, here, after = total[top - 1 : top + 2]
    bend = before - 2.0 * here + after
    return float(lags[top] + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def combine_residuals(found: LineResiduals) -> ZeroPoint:
    """Shift of an arm and of its orders, outliers left out."""
    shift, error, good = robust_mean(found.shift, found.error)
    per_order = {}
    for order in np.unique(found.order[good]):
        own = good & (found.order == order)
        value, sigma = weighted_mean(found.shift[own], np.hypot(found.error[own], _FLOOR))
        per_order[int(order)] = (value, sigma, int(own.sum()))
    scatter = 1.4826 * float(np.median(np.abs(found.shift[good] - shift)))
    kept = LineResiduals(
        **{name: getattr(found, name) for name in LineResiduals.__slots__ if name != "used"}, used=good
    )
    fwhm = float(np.median(found.fwhm[good]))
    return ZeroPoint(shift, error, int(good.sum()), per_order, scatter, fwhm, *_scale(found, good), kept)


def robust_mean(shifts: np.ndarray, errors: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(mean, its error, which values were used): weighted, without outliers, error by the scatter if larger."""
    good = np.ones(shifts.size, dtype=bool)
    centre = float(np.median(shifts))
    for _ in range(5):
        spread = max(1.4826 * float(np.median(np.abs(shifts - centre))), _FLOOR)
        good = np.abs(shifts - centre) < 4.0 * np.hypot(errors, min(spread, 0.3))
        if not good.any():
            good = np.ones(shifts.size, dtype=bool)
        centre = weighted_mean(shifts[good], np.hypot(errors[good], _FLOOR))[0]
    shift, error = weighted_mean(shifts[good], np.hypot(errors[good], _FLOOR))
    pulls = (shifts[good] - shift) / np.hypot(errors[good], _FLOOR)
    return shift, error * max(1.0, float(np.sqrt(np.mean(pulls**2)))), good


def _scale(found: LineResiduals, good: np.ndarray) -> tuple[float, float]:
    """Slope of the shift along the orders and its error."""
    nan = float("nan")
    place = found.coordinate[good]
    if place.size < _FEWEST_FOR_SCALE or np.ptp(place) < 0.8:
        return nan, nan
    sigma = np.hypot(found.error[good], _FLOOR)
    design = np.stack([np.ones_like(place), place], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    solution = covariance @ (design.T @ (found.shift[good] / sigma))
    pulls = found.shift[good] / sigma - design @ solution
    widened = max(1.0, float(np.sqrt(np.mean(pulls**2))))
    return float(solution[1]), float(np.sqrt(covariance[1, 1])) * widened


def resolving_powers(zero_point: ZeroPoint, boxes: int) -> dict[int, float]:
    """Median resolving power of each order's lines, for lines that were fitted one by one.

    `boxes` is how often a pixel's width is in their FWHM: once as the detector counts light, once more in the
    median along a slit whose pixels are taken to the nearest bin.
    """
    lines = zero_point.residuals
    if lines is None or zero_point.by_template:
        return {}
    width = np.sqrt(np.maximum(lines.fwhm**2 - boxes * _PIXEL, 0.25)) * np.abs(lines.pixel)
    power = lines.wavelength / width
    return {
        int(order): float(np.median(power[own]))
        for order in np.unique(lines.order)
        if (own := lines.used & (lines.order == order)).sum() >= 2
    }


def weighted_mean(values: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Mean weighted by 1/errors^2, and its error."""
    weight = errors**-2.0
    return float(np.sum(values * weight) / weight.sum()), float(1.0 / np.sqrt(weight.sum()))
