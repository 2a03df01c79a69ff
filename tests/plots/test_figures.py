"""Figures are drawn without a warning, say their units, and show the data they were given."""

import io

import numpy as np
import pytest

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.linearity import LinearityCurve
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.rectified_image import RectifiedImage
from soxs_recipes.data.response import Response
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
from soxs_recipes.plots.calibration import figure_line_residuals, figure_response
from soxs_recipes.plots.detector import figure_master, figure_order_table, figure_sky_subtraction
from soxs_recipes.plots.linearity import figure_linearity, figure_photon_transfer
from soxs_recipes.plots.rectified import figure_rectified, figure_rectified_orders
from soxs_recipes.plots.spectra import binned, figure_all_arms, figure_merged, figure_orders

RNG = np.random.default_rng(3)


def drawn(figure):
    """Bytes of the figure as PNG: drawing it is the test that nothing warns."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()


def labels(figure):
    return " ".join(axis.get_xlabel() + axis.get_ylabel() for axis in figure.axes)


def merged(low=350.0, high=850.0, n=600, unit="erg / (s cm2 Angstrom)"):
    wavelength = np.linspace(low, high, n)
    quality = np.zeros(n, np.int32)
    variance = np.full(n, 1e-34)
    quality[:10], variance[:10] = QualityFlag.NO_DATA, np.inf
    flux = 1e-16 + 1e-17 * RNG.standard_normal(n)
    flux[:10] = 0
    return MergedSpectrum(
        wavelength,
        np.gradient(wavelength),
        flux,
        variance,
        flux * 0,
        quality,
        np.ones(n, np.int16),
        flux_unit=unit,
    )


def order(number, n=100):
    ones = np.ones(n)
    return OrderSpectrum(
        number, str(number), np.linspace(400, 500, n) + 90 * number, ones, 100 * ones, 100 * ones, 100 * ones,
        100 * ones, 5 * ones, 5 * ones, np.zeros(n, np.int32), 0 * ones,
    )  # fmt: skip


def frame(shape=(60, 40)):
    data = RNG.normal(10, 1, shape).astype(np.float32)
    quality = np.zeros(shape, np.int32)
    quality[:, 3] = QualityFlag.HOT
    return Frame(data, np.ones(shape, np.float32), quality)


def table(axis=0):
    domain = (0.0, 59.0)
    return OrderTable(
        (OrderTrace(1, domain, np.array([20.0, 1.0]), np.array([15.0, 1.0]), np.array([25.0, 1.0])),), axis
    )


def test_merged_spectrum_shows_units_error_and_bands():
    figure = figure_merged(merged(), "SN 2026$abc", [(686, 696), (759, 770), (2000, 2100)])
    assert "erg s" in labels(figure)
    assert "nm, vacuum" in labels(figure)
    flux_axis = figure.axes[0]
    assert [text.get_text() for text in flux_axis.get_legend().get_texts()].count("telluric bands") == 1
    assert drawn(figure)


def test_binning_averages_by_inverse_variance_and_leaves_unknown_bins_out():
    spectrum = merged(n=600)
    wavelength, flux, error = binned(spectrum, 10)
    assert wavelength.size == flux.size == 60
    assert np.isnan(flux[0])
    assert np.isfinite(flux[1:]).all()
    np.testing.assert_allclose(error[1:], 1e-17 / np.sqrt(10))
    np.testing.assert_allclose(flux[5], spectrum.flux[50:60].mean())


def test_all_arms_in_one_panel():
    figure = figure_all_arms([("UV-VIS", merged()), ("NIR", merged(800, 2050))], "both arms")
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names[:2] == ["UV-VIS", "NIR"]
    assert drawn(figure)


def test_orders_are_named_and_an_empty_one_is_left_out():
    empty = order(3)
    empty.quality[:] = QualityFlag.NO_DATA
    figure = figure_orders([order(1), order(2), empty], "orders")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2"]
    assert drawn(figure)


def test_master_leaves_unusable_columns_out_of_its_profile():
    figure = figure_master(frame(), "master bias")
    profile = figure.axes[3].lines[1].get_ydata()
    assert np.isnan(profile[3])
    assert np.isfinite(np.delete(profile, 3)).all()
    assert drawn(figure)


@pytest.mark.parametrize("axis", [0, 1])
def test_order_table_draws_centre_and_edges(axis):
    figure = figure_order_table(None, table(axis), "orders")
    assert len(figure.axes[0].lines) == 3
    x = figure.axes[0].lines[1].get_xdata()
    assert (x.max() < 30) == (axis == 0)
    assert drawn(figure)


@pytest.mark.parametrize("axis", [0, 1])
def test_sky_subtraction_counts_pixels_in_orders_only(axis):
    image = np.zeros((60, 40), int)
    image[10:20] = 1
    figure = figure_sky_subtraction(frame(), np.full((60, 40), 7.0, np.float32), "sky", axis, image, every=3)
    along, across = (180, 120) if axis == 0 else (120, 180)
    assert figure.axes[0].images[0].get_extent() == [-0.5, along - 0.5, -0.5, across - 0.5]
    assert drawn(figure)


def test_line_residuals_state_their_rms():
    n = 50
    lines = {name: RNG.normal(0, 0.01, n) for name in ("x_residual", "y_residual")}
    lines |= {"x": RNG.uniform(0, 40, n), "y": RNG.uniform(0, 60, n), "wavelength": np.linspace(400, 500, n)}
    lines |= {"order": np.repeat([1, 2], n // 2), "kept": np.arange(n) > 4, "fwhm": RNG.normal(2, 0.1, n)}
    figure = figure_line_residuals(lines, "dispersion solution")
    assert "45 lines used, 5 rejected" in figure.axes[0].get_title(loc="left")
    rms = np.sqrt(np.mean(lines["x_residual"][lines["kept"]] ** 2))
    assert f"rms x {rms:.3f}" in figure.axes[1].get_title(loc="left")
    assert drawn(figure)


def test_response_is_drawn_per_order():
    n = 40
    response = Response(
        np.repeat([1, 2], n // 2).astype(np.int16), np.linspace(400, 600, n), np.full(n, 2e-17), np.full(n, 1e-18),
        np.full(n, 0.15), np.zeros(n, np.int32),
    )  # fmt: skip
    figure = figure_response(response, "response", [(450, 460)])
    assert len(figure.axes[0].lines) == 2
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), 15.0)
    assert drawn(figure)


def test_response_stands_before_earlier_nights():
    n = 40
    parts = np.repeat([1, 2], n // 2).astype(np.int16), np.linspace(400, 600, n)
    ones, zeros = np.ones(n), np.zeros(n, np.int32)
    new = Response(*parts, 2e-17 * ones, 1e-18 * ones, 0.15 * ones, zeros)
    earlier = Response(*parts, 1.8e-17 * ones, 1e-18 * ones, 0.15 * ones, zeros)
    figure = figure_response(new, "response", [(450, 460)], earlier)
    ratios = [line.get_ydata() for line in figure.axes[2].lines if len(line.get_ydata()) > 2]
    assert len(ratios) == 2
    np.testing.assert_allclose(np.concatenate(ratios), 0.9)
    assert drawn(figure)


def rectified(number, unit):
    shape = (12, 300)
    flux = RNG.normal(1.0 if unit == "" else 0.0, 0.1, shape)
    flux[6] += 0.0 if unit == "" else 30.0
    variance = np.full(shape, 0.01)
    variance[:, :5] = np.inf
    cover = np.ones(shape, np.float32)
    kernel = np.full((5, 3, 3), 0.1, np.float32)
    quality = np.zeros(shape, np.int32)
    return RectifiedImage(
        number, str(number), 900.0, 0.06, -1.8, 0.33, flux.astype(np.float32), variance, variance, quality, cover,
        kernel, unit,
    )  # fmt: skip


@pytest.mark.parametrize("unit", ["electron", ""])
def test_straightened_orders(unit):
    figure = figure_rectified_orders([rectified(number, unit) for number in range(10, 17)], "title")
    assert drawn(figure)
    assert "wavelength [nm, vacuum]" in labels(figure)
    assert figure.get_supylabel() == "slit position [arcsec]"
    names = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert sorted(names) == [f"order {number}" for number in range(10, 17)]
    assert figure.axes[0].images[0].get_extent()[0] == pytest.approx(899.97)


@pytest.mark.parametrize("unit", ["electron / nm", "erg / (s cm2 Angstrom)", ""])
def test_straightened_arm(unit):
    figure = figure_rectified(rectified(0, unit), "title")
    assert drawn(figure)
    assert "wavelength [nm, vacuum]" in labels(figure)
    assert "0.33 arcsec" in labels(figure)
    profile = figure.axes[1].lines[0]
    if unit:
        assert profile.get_ydata()[np.argmax(profile.get_xdata())] == pytest.approx(-1.8 + 6 * 0.33)


def transfer_points(gain, used):
    level = np.geomspace(50.0, 40000.0, 60)
    return {
        "AMPLIFIER": np.repeat([1, 2], 30),
        "LEVEL": level,
        "VARIANCE": level / gain + 10.0,
        "ERROR": 0.02 * level,
        "MODEL": np.where(used, level / gain + 10.0, np.nan),
        "USED": used,
        "RESIDUAL": np.where(used, 1e-4, np.nan),
        "EXPTIME": np.linspace(1.0, 60.0, 60),
    }


def test_photon_transfer_tells_every_output():
    used = np.arange(60) % 10 != 9
    amplifiers = {
        "AMPLIFIER": np.array([1, 2]),
        "GAIN": np.array([2.0, 1.9]),
        "GAIN_ERR": np.array([0.001, 0.002]),
        "READ_NOISE": np.array([3.8, 4.1]),
        "FULL_WELL": np.array([130000.0, np.nan]),
    }
    figure = figure_photon_transfer(transfer_points(2.0, used), amplifiers, "GAIN_INFO")
    text = " ".join(entry.get_text() for entry in figure.axes[0].get_legend().get_texts())
    assert "output 1: 2.0000" in text
    assert "stops at 130.0" in text
    assert text.count("stops at") == 1
    assert "[ADU" in labels(figure)
    shown = [np.asarray(artist.get_offsets()).shape[0] for artist in figure.axes[0].collections]
    assert sum(shown) == 60
    assert drawn(figure)


def test_linearity_shows_the_departure_and_what_is_left():
    curves = [LinearityCurve((0, 400), 40000.0, (0.03, 0.01), limit) for limit in (40000.0, 36000.0)]
    figure = figure_linearity(transfer_points(2.0, np.ones(60, bool)), curves, "LINEARITY_COEFF")
    line = figure.axes[0].lines[0]
    assert line.get_ydata()[-1] == pytest.approx(100.0 * (1.0 / 1.04 - 1.0), abs=1e-6)
    assert "[%]" in labels(figure)
    low, high = figure.axes[1].get_ylim()
    assert low <= -0.1 < 0.1 <= high
    assert drawn(figure)
    empty = {name: values[:0] for name, values in transfer_points(2.0, np.ones(60, bool)).items()}
    assert drawn(figure_linearity(empty, curves, "nothing"))
