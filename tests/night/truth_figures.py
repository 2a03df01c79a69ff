"""How far products are from the simulator's truth; every function gives plain numbers."""

import numpy as np

from soxs_recipes.data.quality import is_usable
from soxs_recipes.fits_files import (
    read_dispersion_solution,
    read_frame,
    read_header,
    read_merged_spectrum,
    read_order_spectra,
    read_order_table,
)
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.product_plots import TELLURIC_BANDS

LIGHT_SPEED = 299792.458


def robust_width(values):
    low, high = np.percentile(values, [15.865, 84.135])
    return 0.5 * (high - low)


def arm_of(product):
    return load_instrument().arm(str(read_header(product)["HIERARCH ESO PRO CATG"]).rsplit("_", 1)[-1])


def raw_name(product):
    """The raw frame that a product's newest record names first."""
    header = read_header(product)
    names = [header.get(f"HIERARCH ESO PRO REC{record} RAW1 NAME") for record in range(1, 10)]
    return [name for name in names if name][-1]


def dispersion_errors(product, night, slits=(0.0,), shift=0.0):
    """(rms in px, mean velocity in km/s) of a dispersion solution over the useful ranges; `shift` is put on."""
    solution, arm = read_dispersion_solution(product), arm_of(product)
    model = night.model(raw_name(product))
    differences, velocities = [], []
    for order in arm.orders:
        wavelength = np.repeat(np.linspace(order.wavelength_min, order.wavelength_max, 100), len(slits))
        slit = np.tile(slits, 100)
        truth = np.array(model.evaluate(order.number, wavelength, slit))
        inside = on_detector(truth, arm)
        difference = np.array(solution.evaluate(order.number, wavelength, slit)) + shift - truth
        slope = solution.surface(order.number).wavelength_derivative(wavelength, slit)
        along = 1 - arm.dispersion_axis
        velocities.append((difference[along] / slope[along] / wavelength * LIGHT_SPEED)[inside])
        differences.append(difference[:, inside])
    assert len(differences) == len(arm.orders)
    everything = np.concatenate(differences, axis=1)
    return float(np.sqrt(np.mean(everything**2, axis=1)).max()), float(np.mean(np.concatenate(velocities)))


def on_detector(position, arm):
    ny, nx = arm.detector.science_shape()
    return (position[0] > 0) & (position[0] < nx - 1) & (position[1] > 0) & (position[1] < ny - 1)


def largest_order_error(product, night, *, edges):
    """Largest distance [px] of order centres (or edges) from the truth, over the useful ranges."""
    arm, table = arm_of(product), read_order_table(product)
    model = night.model(raw_name(product))
    slits = (-0.5 * arm.slit_length, 0.5 * arm.slit_length) if edges else (0.0,)
    worst = []
    for order in arm.orders:
        wavelength = np.linspace(order.wavelength_min, order.wavelength_max, 100)
        for slit in slits:
            position = np.array(model.evaluate(order.number, wavelength, np.full(100, slit)))
            inside = on_detector(position, arm)
            along, across = position[1 - arm.dispersion_axis, inside], position[arm.dispersion_axis, inside]
            trace = table[order.number]
            curves = trace.edges_at(along) if edges else [trace.centre_at(along)]
            worst.append(min(np.abs(curve - across).max() for curve in curves))
    assert len(worst) == len(arm.orders) * len(slits)
    return float(max(worst))


def extraction_figures(product, night, scale=1.0):
    """(median relative error, width of pulls) of extracted counts; `scale` is put on the counts."""
    arm, truth = arm_of(product), night.tables(raw_name(product))
    ratios, pulls = [], []
    for spectrum in read_order_spectra(product):
        order = arm.order(spectrum.order)
        expected = truth.truth_counts(spectrum.order, bin_edges(spectrum))
        good = (spectrum.wavelength > order.wavelength_min) & (spectrum.wavelength < order.wavelength_max)
        good &= is_usable(spectrum.quality) & np.isfinite(expected) & np.isfinite(spectrum.variance)
        difference = scale * spectrum.flux[good] - expected[good]
        weight = 1.0 / spectrum.variance[good]
        ratios.append((difference * expected[good] * weight).sum() / (expected[good] ** 2 * weight).sum())
        pulls.append(difference / np.sqrt(spectrum.variance[good]))
    assert len(ratios) == len(arm.orders)
    return float(np.median(ratios)), float(robust_width(np.concatenate(pulls)))


def bin_edges(spectrum):
    sign = 1.0 if spectrum.wavelength[0] < spectrum.wavelength[-1] else -1.0
    half = 0.5 * sign * spectrum.bin_width
    return np.append(spectrum.wavelength - half, spectrum.wavelength[-1] + half[-1])


def calibration_ratios(product, night, bin_width, least_signal=30.0):
    """(wavelength, flux over truth through the modelled slit, error) in bins outside telluric bands.

    One grey factor is free: the median is 1.
    """
    spectrum = read_merged_spectrum(product)
    record = night.record(raw_name(product))
    truth = night.tables(record)
    tables = truth.tables
    sort = np.argsort(tables["object_wavelength"])
    through = np.interp(
        spectrum.wavelength, tables["object_wavelength"][sort], tables["object_slit_transmission"][sort]
    )
    source = through * np.interp(
        spectrum.wavelength, tables["object_spectrum_wavelength"], tables["object_spectrum_flux"]
    )
    good = np.isfinite(spectrum.variance) & (spectrum.variance > 0) & is_usable(spectrum.quality)
    for low, high in TELLURIC_BANDS:
        good &= (spectrum.wavelength < low) | (spectrum.wavelength > high)
    bins = np.floor(spectrum.wavelength / bin_width).astype(int)
    rows = []
    for number in np.unique(bins[good]):
        chosen = good & (bins == number)
        if chosen.sum() < 0.5 * (bins == number).sum():
            continue
        weight = 1.0 / spectrum.variance[chosen]
        information = (source[chosen] ** 2 * weight).sum()
        ratio = (spectrum.flux[chosen] * source[chosen] * weight).sum() / information
        rows.append(((number + 0.5) * bin_width, ratio, information**-0.5))
    wavelength, ratio, error = np.array(rows).T
    grey = np.median(ratio)
    strong = error < grey / least_signal
    return wavelength[strong], ratio[strong] / grey, error[strong] / grey


def sky_residual_width(product, maps, night):
    """Width of residuals over noise away from the object."""
    frame, truth = read_frame(product), night.tables(raw_name(product))
    pulls = []
    for order in arm_of(product).orders:
        middle = np.array([0.5 * (order.wavelength_min + order.wavelength_max)])
        chosen = (maps.order == order.number) & frame.usable & (frame.variance > 0)
        chosen &= (maps.wavelength > order.wavelength_min) & (maps.wavelength < order.wavelength_max)
        chosen &= np.abs(maps.slit - truth.slit_position(order.number, middle)[0]) > 2.6
        chosen &= np.abs(maps.slit) < 5.3
        pulls.append(frame.data[chosen] / np.sqrt(frame.variance[chosen]))
    everything = np.concatenate(pulls)
    assert everything.size > 10_000
    return float(robust_width(everything))
