import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.fits_files import read_dispersion_solution, read_line_table, read_pixel_maps
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.disp_solution import DispersionSolutionRecipe
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.spatial_solution import SpatialSolution
from soxs_recipes.simulator import simulate_frame


def write(folder, name, kind, arm, **keywords):
    data, header, truth = simulate_frame(kind, arm, seed=21, **keywords)
    path = folder / f"{name}.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    return path, truth


def differences(arm, solution, model, slits=(0.0,)):
    """Per order (x, y) differences from the truth on the detector, over the useful range."""
    ny, nx = arm.detector.science_shape()
    result = {}
    for order in arm.orders:
        w, s = np.meshgrid(np.linspace(order.wavelength_min, order.wavelength_max, 150), slits)
        true = model.evaluate(order.number, w, s)
        found = solution.surface(order.number).evaluate(w, s)
        seen = (true[0] > 0) & (true[0] < nx - 1) & (true[1] > 0) & (true[1] < ny - 1)
        result[order.number] = [(f - t)[seen] for f, t in zip(found, true, strict=True)]
    return result


def assert_within_bars(errors, count):
    assert len(errors) == count
    rms = np.array([[np.sqrt(np.mean(e**2)) for e in pair] for pair in errors.values()])
    for axis in (0, 1):
        joined = np.concatenate([pair[axis] for pair in errors.values()])
        assert np.sqrt(np.mean(joined**2)) < 0.02
        assert np.abs(joined).max() < 0.15
    assert rms.max() < 0.04


@pytest.fixture(scope="module")
def vis(tmp_path_factory):
    """The UV-VIS arc through one pinhole, reduced."""
    folder = tmp_path_factory.mktemp("vis")
    path, truth = write(folder, "pin", "pinhole_arc", "VIS")
    return run_recipe(DispersionSolutionRecipe, [(path, "WAVE_PIN_VIS")], {}, folder / "out"), truth


def test_uv_vis_solution(vis):
    result, truth = vis
    assert result.exit_code == 0, result.message
    assert [product.tag for product in result.products] == ["DISP_TAB_VIS"]
    arm = load_instrument().arm("VIS")
    path = result.products[0].path
    assert_within_bars(differences(arm, read_dispersion_solution(path), truth.model), 4)
    lines = read_line_table(path)
    clean = ~lines["blend"] & (lines["reason"] != "OUTSIDE")
    assert clean.sum() > 200
    assert lines["kept"][clean].mean() > 0.95
    assert {"x_predicted", "y_fit", "fwhm", "flux", "pinhole", "ion", "x_residual"} <= set(lines)
    header = fits.getheader(path)
    assert header["ESO QC GOODLINES FRAC"] > 0.95
    assert header["ESO QC ORD2 DETLINES NUM"] > 30
    assert header["ESO QC Y RES MEDIAN"] < 0.1
    assert header["ESO QC N ORDERS"] == 4
    assert 1.2 < header["ESO QC FWHM PIN MEDIAN"] < 2.5


def test_infrared_solution_with_lamp_off(tmp_path):
    on, truth = write(tmp_path, "on", "pinhole_arc", "NIR")
    off, _ = write(tmp_path, "off", "pinhole_arc", "NIR", lamps_off=True, index=3)
    sof = [(on, "WAVE_PIN_NIR_ON"), (off, "WAVE_PIN_NIR_OFF")]
    result = run_recipe(DispersionSolutionRecipe, sof, {}, tmp_path / "out")
    assert result.exit_code == 0, result.message
    assert result.status == "COMPLETE"
    solution = read_dispersion_solution(result.products[0].path)
    assert_within_bars(differences(load_instrument().arm("NIR"), solution, truth.model), 15)


def test_two_dimensional_solution_and_maps(vis, tmp_path):
    first, _ = vis
    path, truth = write(tmp_path, "mph", "multi_pinhole_arc", "VIS", flexure=(0.3, -0.2))
    sof = [(path, "WAVE_MPH_VIS"), (first.products[0].path, "DISP_TAB_VIS")]
    result = run_recipe(SpatialSolution, sof, {}, tmp_path / "out")
    assert result.exit_code == 0, result.message
    products = {product.tag: product.path for product in result.products}
    assert set(products) == {"DISP_TAB_2D_VIS", "DISP_IMAGE_VIS"}
    solution = read_dispersion_solution(products["DISP_TAB_2D_VIS"])
    arm = load_instrument().arm("VIS")
    assert_within_bars(differences(arm, solution, truth.model, slits=(-5.5, -2.5, 0.0, 2.5, 5.5)), 4)
    maps = read_pixel_maps(products["DISP_IMAGE_VIS"])
    assert maps.orders == (1, 2, 3, 4)
    for number in maps.orders:
        rows, columns = np.nonzero(maps.order == number)
        assert rows.size > 1e5
        x, y = solution.surface(number).evaluate(maps.wavelength[rows, columns], maps.slit[rows, columns])
        assert np.hypot(x - columns, y - rows).max() < 0.005
    header = fits.getheader(products["DISP_TAB_2D_VIS"])
    assert header["ESO QC PINHOLE COUNT"] >= 8
    assert header["ESO QC SLIT SCALE"] == pytest.approx(0.275, rel=0.03)
    assert abs(header["ESO QC SHIFT X"] - 0.3) < 0.1
    assert abs(header["ESO QC SHIFT Y"] + 0.2) < 0.1


def test_multi_pinhole_arc_without_a_first_solution_is_partial(tmp_path):
    path, truth = write(tmp_path, "mph", "multi_pinhole_arc", "VIS")
    result = run_recipe(SpatialSolution, [(path, "WAVE_MPH_VIS")], {}, tmp_path / "out")
    assert result.exit_code == 0, result.message
    assert result.status == "PARTIAL"
    assert any("DISP_TAB" in reason for reason in result.reasons)
    tables = [product.path for product in result.products if product.tag == "DISP_TAB_2D_VIS"]
    errors = differences(load_instrument().arm("VIS"), read_dispersion_solution(tables[0]), truth.model)
    assert_within_bars(errors, 4)


def test_a_dead_lamp_is_named(tmp_path):
    on, truth = write(tmp_path, "on", "pinhole_arc", "NIR", dead_lamp="XeI")
    result = run_recipe(DispersionSolutionRecipe, [(on, "WAVE_PIN_NIR_ON")], {}, tmp_path / "out")
    assert result.exit_code == 0, result.message
    assert result.status == "PARTIAL"
    assert any("XeI" in reason for reason in result.reasons)
    errors = differences(
        load_instrument().arm("NIR"), read_dispersion_solution(result.products[0].path), truth.model
    )
    assert np.median([np.sqrt(np.mean(pair[0] ** 2)) for pair in errors.values()]) < 0.03


def test_a_frame_without_lines_is_refused_by_name(tmp_path):
    path, _ = write(tmp_path, "dark_arc", "pinhole_arc", "VIS", lamps_off=True)
    result = run_recipe(DispersionSolutionRecipe, [(path, "WAVE_PIN_VIS")], {}, tmp_path / "out")
    assert result.exit_code in (22, 23)
    assert result.products == () or not result.products
    assert "dark_arc.fits" in result.message or "arc" in result.message
