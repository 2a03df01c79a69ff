"""How far the products of a simulated night are from its truth: one function a family of figures.

Each function returns {figure: value}; what is asked of each figure stands in `BARS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.fits_files import (
    read_dispersion_solution,
    read_frame,
    read_header,
    read_line_table,
    read_merged_spectrum,
    read_order_spectra,
    read_order_table,
    read_pixel_maps,
)
from soxs_recipes.instrument import load_instrument
from soxs_recipes.simulator import expected_light

LIGHT_SPEED = 299792.458

# figure: (bound, "max" at most in absolute value | "min" at least | "near": this far from 1)
BARS = {
    "dispersion rms x [px]": (0.02, "max"),
    "dispersion rms y [px]": (0.02, "max"),
    "dispersion worst order rms [px]": (0.03, "max"),
    "dispersion maximum [px]": (0.1, "max"),
    "dispersion bias [km/s]": (0.5, "max"),
    "2-D dispersion rms x [px]": (0.02, "max"),
    "2-D dispersion rms y [px]": (0.02, "max"),
    "2-D dispersion worst order rms [px]": (0.03, "max"),
    "2-D dispersion maximum [px]": (0.1, "max"),
    "2-D dispersion bias [km/s]": (0.5, "max"),
    "unblended lines kept": (0.95, "min"),
    "pixel map closure [px]": (0.005, "max"),
    "pixel map holes": (0.5, "max"),
    "order centre maximum [px]": (0.05, "max"),
    "order edge maximum [px]": (0.1, "max"),
    "bias pull mean": (0.05, "max"),
    "bias pull width": (0.05, "near"),
    "dark pull mean": (0.05, "max"),
    "dark pull width": (0.05, "near"),
    "flat pull mean": (0.05, "max"),
    "flat pull width": (0.05, "near"),
    "bias false bad pixels": (1e-5, "max"),
    "dark false bad pixels": (1e-5, "max"),
    "flux bias median [%]": (0.5, "max"),
    "flux bias, weighted [%]": (0.3, "max"),
    "flux pull width": (0.05, "near"),
    "S/N over bound, off lines": (0.95, "min"),
    "S/N over bound, on lines": (0.95, "min"),
    "flux pull width, 10-bin sums": (0.05, "near"),
    "S/N over bound, 10-bin sums": (0.95, "min"),
    "sky pull width off lines": (1.05, "max"),
    "sky pull width on lines": (1.3, "max"),
    "flux calibration rms [%]": (3.0, "max"),
    "flux colours, noise taken off [%]": (2.0, "max"),
    "arms' disagreement in the overlap [%]": (1.0, "max"),
}


def robust_width(values: np.ndarray) -> float:
    """Half the central 68.27 % interval."""
    low, high = np.percentile(values, [15.865, 84.135])
    return float(0.5 * (high - low))


def calibration_of(product: Path, tag: str, candidates: list[Path]) -> Path:
    """Which of several products of one tag a product was made with, by its header."""
    header = read_header(product)
    names = {str(value) for key, value in header.items() if key.endswith(" NAME") and " CAL" in key}
    for path in candidates:
        if path.name in names:
            return path
    raise KeyError(f"{product.name} was made with none of {len(candidates)} {tag}")


def raw_names(product: Path) -> list[str]:
    """Raw frames of a product's newest record, by base name."""
    header = read_header(product)
    found = []
    for record in range(1, 10):
        names = [
            str(header[key])
            for number in range(1, 100)
            if (key := f"HIERARCH ESO PRO REC{record} RAW{number} NAME") in header
        ]
        if names:
            found = names
    return found


def dispersion(product: Path, night, prefix: str, slits=(0.0,)) -> dict[str, float]:
    """Dispersion solution against the optical model of the very arc frame, in the useful ranges."""
    solution = read_dispersion_solution(product)
    arm = _arm_of(product)
    model = night.model(raw_names(product)[0])
    differences, per_order, velocities = [], [], []
    for order in arm.orders:
        wavelength = np.repeat(np.linspace(order.wavelength_min, order.wavelength_max, 200), len(slits))
        slit = np.tile(slits, 200)
        truth = np.array(model.evaluate(order.number, wavelength, slit))
        inside = _on_detector(truth, arm)
        found = np.array(solution.evaluate(order.number, wavelength, slit))
        difference = (found - truth)[:, inside]
        slope = solution.surface(order.number).wavelength_derivative(wavelength, slit)
        along = 1 - arm.dispersion_axis
        velocities.append(-difference[along] / slope[along][inside] / wavelength[inside] * LIGHT_SPEED)
        differences.append(difference)
        per_order.append(np.sqrt(np.mean(difference**2, axis=1)).max())
    everything = np.concatenate(differences, axis=1)
    return {
        f"{prefix} rms x [px]": float(np.sqrt(np.mean(everything[0] ** 2))),
        f"{prefix} rms y [px]": float(np.sqrt(np.mean(everything[1] ** 2))),
        f"{prefix} worst order rms [px]": float(max(per_order)),
        f"{prefix} maximum [px]": float(np.abs(everything).max()),
        f"{prefix} bias [km/s]": float(np.mean(np.concatenate(velocities))),
    }


def lines_kept(product: Path) -> dict[str, float]:
    """Fraction of our list's unblended lines that the solution kept."""
    lines = read_line_table(product)
    unblended = ~np.asarray(lines["blend"], bool)
    return {"unblended lines kept": float(np.mean(np.asarray(lines["kept"], bool)[unblended]))}


def pixel_maps(maps_product: Path, solution_product: Path, edges_product: Path) -> dict[str, float]:
    """Closure of the pixel maps with their solution, and holes inside the edges."""
    maps = read_pixel_maps(maps_product)
    solution = read_dispersion_solution(solution_product)
    inside = read_order_table(edges_product).order_image(maps.order.shape) > 0
    y, x = np.nonzero(maps.order)
    found = solution.evaluate(maps.order[y, x], maps.wavelength[y, x], maps.slit[y, x])
    return {
        "pixel map closure [px]": float(np.hypot(found[0] - x, found[1] - y).max()),
        "pixel map holes": float((inside & ~np.isfinite(maps.wavelength)).sum()),
    }


def orders(centres_product: Path, edges_product: Path | None, night) -> dict[str, float]:
    """Order centres and edges against the optical model, in the useful ranges."""
    result = {}
    half = 0.5 * _arm_of(centres_product).slit_length
    jobs = [("order centre maximum [px]", centres_product, (0.0,))]
    if edges_product is not None:
        jobs.append(("order edge maximum [px]", edges_product, (-half, half)))
    for figure, product, slits in jobs:
        arm, table = _arm_of(product), read_order_table(product)
        model = night.model(raw_names(product)[0])
        worst = []
        for order in arm.orders:
            if order.number not in table.orders:
                continue
            wavelength = np.linspace(order.wavelength_min, order.wavelength_max, 100)
            for slit in slits:
                position = np.array(model.evaluate(order.number, wavelength, np.full(100, slit)))
                inside = _on_detector(position, arm)
                along, across = position[1 - arm.dispersion_axis, inside], position[arm.dispersion_axis, inside]
                trace = table[order.number]
                found = [trace.centre_at(along)] if len(slits) == 1 else trace.edges_at(along)
                worst.append(min(np.abs(curve - across).max() for curve in found))
        result[figure] = float(max(worst))
    return result


def master(product: Path, truth: np.ndarray, really_bad: np.ndarray, prefix: str) -> dict[str, float]:
    """Pulls of a master over its usable pixels, and good pixels that it calls bad.

    Where the zero level of a frame lies is a convention that frames and masters share (overscan, reference
    pixels): the median difference is taken out.
    """
    frame = read_frame(product)
    good = frame.usable & (frame.variance > 0) & ~really_bad
    difference = frame.data[good] - truth[good]
    pulls = (difference - np.median(difference)) / np.sqrt(frame.variance[good])
    return {
        f"{prefix} pull mean": float(np.mean(np.clip(pulls, -10, 10))),
        f"{prefix} pull width": robust_width(pulls),
        f"{prefix} false bad pixels": float((~frame.usable & ~really_bad).mean()),
    }


def flat(product: Path, edges_product: Path, night) -> dict[str, float]:
    """Pulls of a master flat 3 px and more inside the edges, and good pixels that it calls insensitive.

    What a flat should hold is the expected light times the pixels' response over the blaze, which a tilted slit
    samples along a slope: level and slope are taken out row by row, and the degrees of freedom given back.
    """
    frame, arm = read_frame(product), _arm_of(product)
    lit = [name for name in raw_names(product) if not night.record(name).lamps_off]
    light, _ = expected_light(night, night.record(lit[0]))
    detector = night.detector(arm.name)
    expected = light.astype(float) * detector.response
    inside = read_order_table(edges_product).order_image(frame.shape, margin=-3.0)
    really_bad = detector.dead | detector.hot
    good = (inside > 0) & frame.usable & ~really_bad & (light > 300) & ((frame.quality & QualityFlag.NO_FLAT) == 0)
    along = np.indices(frame.shape)[arm.dispersion_axis]
    row = (inside.astype(np.int64) * max(frame.shape) + along)[good]
    weight = 1.0 / frame.variance[good].astype(float)
    value, model = frame.data[good], expected[good]
    across = np.indices(frame.shape)[1 - arm.dispersion_axis][good].astype(float)
    centre = np.bincount(row, weights=across) / np.maximum(np.bincount(row), 1)
    sloped = model * (across - centre[row]) / 20.0
    pulls, _ = _row_residuals(row, value, (model, sloped), weight)
    low = (frame.quality & (QualityFlag.LOW_SENSITIVITY | QualityFlag.OUTLIER)) != 0
    return {
        "flat pull mean": float(pulls.mean()),
        "flat pull width": robust_width(pulls),
        "flat false low-sensitivity pixels": float((low & ~really_bad & (inside > 0)).sum() / (inside > 0).sum()),
    }


def _row_residuals(row, value, columns, weight):
    """Weighted residuals of each row about its best sum of two columns, and pixels a row; rows of 12 and more."""
    first, second = columns

    def total(values):
        return np.bincount(row, weights=weight * values)

    a, b, c = total(first**2), total(first * second), total(second**2)
    u, v = total(first * value), total(second * value)
    determinant = np.where(a * c - b**2 > 0, a * c - b**2, np.inf)
    level, slope = (c * u - b * v) / determinant, (a * v - b * u) / determinant
    count = np.bincount(row)[row]
    full = count >= 12
    pulls = (value - level[row] * first - slope[row] * second) * np.sqrt(weight)
    return pulls[full] * np.sqrt(count[full] / (count[full] - 2.0)), count[full]


def extraction(product: Path, night) -> dict[str, float]:
    """Extracted counts against the light that came through the slit, and against the information bound."""
    arm = _arm_of(product)
    records = [night.record(name) for name in raw_names(product)]
    bounds = [InformationBound.of_frame(night, record) for record in records]
    ratios, pulls, off_lines, on_lines, block_pulls, blocks = [], [], [], [], [], []
    weighted = np.zeros(2)
    for spectrum in read_order_spectra(product):
        order = arm.order(spectrum.order)
        edges = _bin_edges(spectrum)
        expected = sum(night.tables(record).truth_counts(spectrum.order, edges) for record in records)
        good = (spectrum.wavelength > order.wavelength_min) & (spectrum.wavelength < order.wavelength_max)
        good &= is_usable(spectrum.quality) & np.isfinite(expected) & np.isfinite(spectrum.variance)
        good &= expected > 0
        if good.sum() < 100:
            continue
        flux, counts, sigma = spectrum.flux[good], expected[good], np.sqrt(spectrum.variance[good])
        ratios.append(np.median(flux - counts) / np.median(counts))
        pulls.append((flux - counts) / sigma)
        bins = spectrum.order, spectrum.wavelength[good], spectrum.bin_width[good]
        each = [bound.signal_to_noise(*bins) for bound in bounds]
        bound = np.sqrt(sum(best**2 for best, _ in each))
        reached = counts / sigma / bound
        # Weighted by what the bins could tell: stated errors go with the noise.
        information = (bound / counts) ** 2 * counts
        weighted += (information * (flux - counts)).sum(), (information * counts).sum()
        is_line = each[0][1]
        pull, ratio = block_figures(flux - counts, counts, sigma, bound, spectrum.correlation[:, good])
        block_pulls.append(pull)
        blocks.append(np.median(ratio))
        off_lines.append(np.median(reached[~is_line]))
        if is_line.sum() > 20:
            on_lines.append(np.median(reached[is_line]))
    return _extraction_figures(ratios, pulls, off_lines, on_lines) | {
        "flux bias, weighted [%]": float(100 * weighted[0] / weighted[1]),
        "error of it by noise [%]": float(100 / np.sqrt(weighted[1])),
        "error of it by the profile [%]": float(read_header(product).get("HIERARCH ESO QC PROFILE ERR", np.nan)),
        "flux pull width, 10-bin sums": robust_width(np.concatenate(block_pulls)),
        "S/N over bound, 10-bin sums": float(np.median(blocks)),
        "S/N over bound, 10-bin sums, worst order": float(np.min(blocks)),
    }


def block_figures(difference, counts, sigma, bound, correlation, size: int = 10):
    """Pulls of sums over bins with the stated correlations of neighbours, and signal-to-noise over the bound.

    Correlated bins can each look better than the bound; their sums can not.
    """
    n = difference.size // size * size
    arrays = (difference, counts, sigma, bound, *correlation)
    difference, counts, sigma, bound, *rows = (a[:n].reshape(-1, size) for a in arrays)
    variance = (sigma**2).sum(axis=1)
    for lag, row in enumerate(rows, start=1):
        variance += 2 * (row[:, :-lag] * sigma[:, lag:] * sigma[:, :-lag]).sum(axis=1)
    # The bound of a sum: its parts' variances add up.
    best = counts.sum(axis=1) / np.sqrt(((counts / bound) ** 2).sum(axis=1))
    return difference.sum(axis=1) / np.sqrt(variance), counts.sum(axis=1) / np.sqrt(variance) / best


def _extraction_figures(ratios, pulls, off_lines, on_lines) -> dict[str, float]:
    everything = np.concatenate(pulls)
    result = {
        "flux bias median [%]": float(100 * np.median(ratios)),
        "flux bias worst order [%]": float(100 * ratios[int(np.argmax(np.abs(ratios)))]),
        "flux pull mean": float(np.median(everything)),
        "flux pull width": robust_width(everything),
        "flux pull width worst order": max((robust_width(p) for p in pulls), key=lambda w: abs(w - 1)),
        "S/N over bound, off lines": float(np.median(off_lines)),
        "S/N over bound, off lines, worst order": float(np.min(off_lines)),
    }
    if on_lines:
        result["S/N over bound, on lines"] = float(np.median(on_lines))
        result["S/N over bound, on lines, worst order"] = float(np.min(on_lines))
    return result


def sky_residuals(subtracted: Path, sky_model: Path, maps_product: Path, night, record) -> dict[str, float]:
    """Width of residual/error away from the object, on and off sky lines."""
    frame, sky, maps = read_frame(subtracted), read_frame(sky_model).data, read_pixel_maps(maps_product)
    truth = night.tables(record)
    off, on = [], []
    for order in _arm_of(subtracted).orders:
        chosen = (maps.order == order.number) & frame.usable & (frame.variance > 0)
        chosen &= (maps.wavelength > order.wavelength_min) & (maps.wavelength < order.wavelength_max)
        position = truth.slit_position(
            order.number, np.array([0.5 * (order.wavelength_min + order.wavelength_max)])
        )
        chosen &= (np.abs(maps.slit - position[0]) > 2.6) & (np.abs(maps.slit) < 5.3)
        if chosen.sum() < 500:
            continue
        pull = frame.data[chosen] / np.sqrt(frame.variance[chosen])
        level = np.percentile(sky[chosen], 25)
        line = sky[chosen] > 5 * max(level, 1.0)
        off.append(pull[sky[chosen] < 1.5 * max(level, 1.0)])
        if line.sum() > 200:
            on.append(pull[line])
    result = {"sky pull width off lines": robust_width(np.concatenate(off))}
    if on:
        result["sky pull width on lines"] = robust_width(np.concatenate(on))
        result["sky line peak [e-]"] = float(np.percentile(sky[sky > 0], 99.99))
    return result


def flux_calibration(product: Path, night, record, telluric_bands) -> dict[str, float]:
    """Calibrated flux over the source's above the atmosphere through the slit in 10-nm bins, one grey factor free.

    Within a bin the ratio is the least-squares one (bins of the spectrum weighted by their inverse variance); bins
    of the comparison with a signal-to-noise over 30 count.
    """
    spectrum, tables = read_merged_spectrum(product), night.tables(record)
    source = through_slit(spectrum.wavelength, tables)
    good = np.isfinite(spectrum.variance) & ((spectrum.quality & QualityFlag.NO_DATA) == 0)
    for low, high in telluric_bands:
        good &= (spectrum.wavelength < low) | (spectrum.wavelength > high)
    bins = np.floor(spectrum.wavelength / 10.0).astype(int)
    ratios, noise = [], []
    for number in np.unique(bins[good]):
        chosen = good & (bins == number)
        if chosen.sum() < 0.5 * (bins == number).sum():
            continue
        weighted = source[chosen] / spectrum.variance[chosen]
        information = (weighted * source[chosen]).sum()
        ratio = (weighted * spectrum.flux[chosen]).sum() / information
        if ratio * np.sqrt(information) > 30:
            ratios.append(ratio)
            noise.append(1.0 / np.sqrt(information) / ratio)
    ratios = np.array(ratios)
    grey = np.median(ratios)
    own = np.mean((ratios / grey - 1) ** 2) - np.mean(np.square(noise))
    return {
        "flux calibration rms [%]": float(100 * np.sqrt(np.mean((ratios / grey - 1) ** 2))),
        "flux colours, noise taken off [%]": float(100 * np.sqrt(max(own, 0.0))),
        "flux calibration worst bin [%]": float(100 * np.abs(ratios / grey - 1).max()),
        "flux calibration bins": float(ratios.size),
        "grey factor": float(grey),
    }


def arm_overlap(vis: Path, nir: Path, low: float = 812.0, high: float = 846.0) -> dict[str, float]:
    """Difference of both arms' calibrated flux where they overlap (water bands there count in both).

    The least-squares ratio over bins of 2 nm, in which each arm is averaged by its inverse variances.
    """
    means, information = [], []
    for product in (vis, nir):
        spectrum = read_merged_spectrum(product)
        good = (spectrum.wavelength > low) & (spectrum.wavelength < high) & np.isfinite(spectrum.variance)
        good &= (spectrum.quality & QualityFlag.NO_DATA) == 0
        number, weight = ((spectrum.wavelength[good] - low) / 2.0).astype(int), 1.0 / spectrum.variance[good]
        size = int(np.ceil((high - low) / 2.0))
        information.append(np.bincount(number, weight, minlength=size))
        total = np.bincount(number, weight * spectrum.flux[good], minlength=size)
        means.append(total / np.maximum(information[-1], np.finfo(float).tiny))
    seen = (information[0] > 0) & (information[1] > 0)
    (one, other), (first, second) = ([row[seen] for row in rows] for rows in (means, information))
    weight = one / (1.0 / first + 1.0 / second)
    return {
        "arms' disagreement in the overlap [%]": float(
            100.0 * ((weight * other).sum() / (weight * one).sum() - 1.0)
        ),
        "error of the disagreement [%]": float(100.0 / np.sqrt((weight * one).sum())),
    }


def through_slit(wavelength: np.ndarray, tables) -> np.ndarray:
    """Flux of the source above the atmosphere times the modelled slit's transmission at each wavelength."""
    rows = tables.tables
    source = np.interp(wavelength, rows["object_spectrum_wavelength"], rows["object_spectrum_flux"])
    sort = np.argsort(rows["object_wavelength"])
    return source * np.interp(wavelength, rows["object_wavelength"][sort], rows["object_slit_transmission"][sort])


class InformationBound:
    """The joint Cramér-Rao bound of object and sky, pixel by pixel along the true slit direction.

    At each wavelength the pixels along the slit hold object (unknown flux, known profile) and sky (unknown level,
    known to be flat): the Fisher matrix is 2 x 2; the flux's variance is the (0, 0) element of its inverse.
    """

    def __init__(self, model, arm, variance: np.ndarray, object_image: np.ndarray, sky_image: np.ndarray):
        self.model, self.arm = model, arm
        self.variance, self.object_image, self.sky_image = variance, object_image, sky_image

    @classmethod
    def of_frame(cls, night, record) -> InformationBound:
        """From the noise-free light of one frame of a simulated night."""
        total, sky = (image.astype(float) for image in expected_light(night, record))
        mode = load_instrument().arm(record.arm).detector.read_modes
        header = read_header(night.path(record))
        noise = float(header.get("HIERARCH ESO DET CHIP RON", mode[0].read_noise))
        gain = float(header.get("HIERARCH ESO DET OUT1 CONAD", mode[0].gain))
        variance = total + noise**2 + gain**2 / 12.0
        return cls(night.model(record), load_instrument().arm(record.arm), variance, total - sky, sky)

    def signal_to_noise(
        self, order: int, wavelength: np.ndarray, width: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Best possible signal-to-noise of each bin, and whether it lies on a sky line."""
        (light, sky, variance), samples, pixels = self.along_slit(order, wavelength, width)
        counts = (light * samples).sum(axis=1)
        profile = light / counts[:, None]
        information = [
            (samples * term / variance).sum(axis=1) for term in (profile**2, profile, np.ones_like(profile))
        ]
        flux_variance = information[2] / (information[0] * information[2] - information[1] ** 2)
        level = np.median(sky, axis=1)
        continuum = np.percentile(level, 25)
        return counts * np.sqrt(pixels / flux_variance), level > 5 * continuum

    def along_slit(self, order: int, wavelength: np.ndarray, width: np.ndarray):
        """Object, sky and variance along the true slit of each bin, each (bins, samples).

        Beside them pixels that a sample stands for (bins, samples), and pixels that a bin is wide (bins,).
        """
        from scipy.ndimage import map_coordinates

        step = 0.05
        slit = np.arange(-5.9, 5.9, step)
        x, y = self.model.evaluate(order, np.repeat(wavelength, slit.size), np.tile(slit, wavelength.size))
        along = np.reshape(x if self.arm.dispersion_axis == 1 else y, (wavelength.size, slit.size))
        across = np.reshape(y if self.arm.dispersion_axis == 1 else x, (wavelength.size, slit.size))
        images = [
            map_coordinates(image, [y, x], order=1, mode="nearest").reshape(wavelength.size, slit.size)
            for image in (self.object_image, self.sky_image, self.variance)
        ]
        # Pixels a slit sample stands for, and pixels a bin is wide: the information adds up over pixels.
        samples = np.abs(np.gradient(across, axis=1))
        pixels = width * np.abs(np.gradient(along[:, slit.size // 2], wavelength))
        return images, samples, pixels


def _bin_edges(spectrum) -> np.ndarray:
    half = 0.5 * spectrum.bin_width
    lower, upper = spectrum.wavelength - half, spectrum.wavelength + half
    if spectrum.wavelength[0] < spectrum.wavelength[-1]:
        return np.concatenate([lower, upper[-1:]])
    return np.concatenate([upper, lower[-1:]])


def _arm_of(product: Path):
    header = read_header(product)
    return load_instrument().arm(str(header["HIERARCH ESO PRO CATG"]).rsplit("_", 1)[-1])


def _on_detector(position: np.ndarray, arm) -> np.ndarray:
    ny, nx = arm.detector.science_shape()
    return (position[0] > 0) & (position[0] < nx - 1) & (position[1] > 0) & (position[1] < ny - 1)


def products_by_tag(folder: Path) -> Mapping[str, list[Path]]:
    """All products below a folder, by PRO CATG."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.fits")):
        tag = read_header(path).get("HIERARCH ESO PRO CATG")
        if tag:
            found.setdefault(str(tag), []).append(path)
    return found
