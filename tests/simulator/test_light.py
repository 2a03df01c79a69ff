"""Scenes: what reaches the detector agrees with the truth that is written beside it."""

import numpy as np
import pytest

from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.frames import supernova
from soxs_recipes.simulator.light import Observation, _StarInOrder, arc_scene, flat_scene, sky_scene, source_light
from soxs_recipes.simulator.spectra import narrow_line
from soxs_recipes.simulator.spectrograph import SLIT_LENGTH, Spectrograph
from soxs_recipes.simulator.truth import TableTruth

_OBSERVATION = Observation(600.0, airmass=1.2, seeing=0.9, slit_width=1.0)


def _order_sum(spectrograph, image, order, low, high):
    """Light of an order between two dispersion coordinates, all along the slit, from exact pixel coordinates."""
    geometry = spectrograph.geometry(order)
    columns = geometry.first_across[:, None] + np.arange(geometry.v.shape[1])
    rows = np.broadcast_to(np.arange(columns.shape[0])[:, None], columns.shape)
    inside = (geometry.v >= low) & (geometry.v < high)
    return image[rows[inside], columns[inside]].sum()


def test_object_counts_on_the_detector_are_the_truth(clean_vis):
    image = clean_vis.blank()
    tables = source_light(clean_vis, image, supernova(), _OBSERVATION)
    truth = TableTruth(tables)
    for order in clean_vis.orders:
        wavelength = clean_vis.geometry(order).wavelength_of(np.array([999.5, 2999.5]))
        expected = truth.truth_counts(order, wavelength)[0]
        assert expected > 1e4
        assert _order_sum(clean_vis, image, order, 999.5, 2999.5) == pytest.approx(expected, rel=5e-4)


def test_truth_counts_add_up_and_see_a_percent(clean_vis):
    tables = source_light(clean_vis, clean_vis.blank(), supernova(), _OBSERVATION)
    truth = TableTruth(tables)
    edges = np.linspace(560.0, 660.0, 41)
    parts = truth.truth_counts(1, edges)
    assert parts.size == 40
    assert parts.sum() == pytest.approx(truth.truth_counts(1, edges[[0, -1]])[0], rel=1e-9)
    more = TableTruth({**tables, "object_electrons": tables["object_electrons"] * 1.01})
    assert more.truth_counts(1, edges[[0, -1]])[0] == pytest.approx(1.01 * parts.sum(), rel=1e-9)
    assert np.isnan(truth.truth_counts(1, np.array([400.0, 410.0]))).all()


def test_truth_counts_agree_with_the_fine_spectrum(clean_vis):
    """Bins that straddle the tabulated pixels, in the steepest place there is: a narrow line."""
    source = supernova(host_line=1e-15)
    star = _StarInOrder(clean_vis, 1, source, _OBSERVATION)
    centre = float(clean_vis.model.evaluate_axes(1, 669.59, 0.0)[0])
    v = centre + np.arange(-15.0, 15.0) + 0.37
    exact = np.diff(star.spectrum.integral(v))
    tables = source_light(clean_vis, clean_vis.blank(), source, _OBSERVATION)
    found = TableTruth(tables).truth_counts(1, clean_vis.geometry(1).wavelength_of(v))
    assert exact.max() > 3 * np.median(exact)
    np.testing.assert_allclose(found, exact, atol=1e-3 * exact.max())


def test_object_lies_where_its_truth_says(clean_vis):
    image = clean_vis.blank()
    tables = source_light(clean_vis, image, supernova(slit_position=1.3), _OBSERVATION)
    geometry = clean_vis.geometry(1)
    rows = slice(1500, 2500)
    columns = geometry.first_across[rows, None] + np.arange(geometry.v.shape[1])
    light = image[np.arange(rows.start, rows.stop)[:, None], columns]
    near = np.abs(geometry.s[rows] - 1.3) < 4.0
    position = (light * geometry.s[rows] * near).sum() / (light * near).sum()
    chosen = tables["object_order"] == 1
    assert chosen.sum() > 4000
    assert position == pytest.approx(np.median(tables["object_slit_position"][chosen]), abs=0.01)


@pytest.mark.parametrize(("width", "passed"), [(1.0, (0.6, 0.8)), (5.0, (0.985, 1.0))])
def test_slit_loss_depends_on_the_slit(clean_vis, width, passed):
    tables = source_light(
        clean_vis, clean_vis.blank(), supernova(), Observation(600.0, airmass=1.0, seeing=0.9, slit_width=width)
    )
    transmission = tables["object_slit_transmission"]
    assert passed[0] < transmission.min()
    assert transmission.max() < passed[1]
    red, blue = (tables["object_wavelength"] > 800.0), (tables["object_wavelength"] < 400.0)
    assert transmission[red].min() > transmission[blue].max()


def test_atmospheric_dispersion_moves_the_blue_light_of_the_infrared_arm():
    positions = {}
    for strength in (0.0, 1.0):
        effects = Effects.from_mapping({"atmospheric_dispersion": strength})
        spectrograph = Spectrograph.of_seed("NIR", 3, effects)
        source = supernova(slit_position=0.5)
        tables = source_light(spectrograph, spectrograph.blank(), source, _OBSERVATION)
        order, position = tables["object_order"], tables["object_slit_position"]
        positions[strength] = [position[order == number].mean() for number in (24, 10)]
    np.testing.assert_allclose(positions[0.0], 0.5)
    assert 0.05 < positions[1.0][0] - positions[1.0][1] < 0.5


def test_a_narrow_line_keeps_its_flux_and_place(clean_vis):
    """An emission line on nothing: its counts follow from the flux, its place from the optical model."""
    source = supernova()
    flux = narrow_line(source.wavelength, 600.0, 1e-15)
    source = type(source)("line", source.wavelength, flux, 0.0)
    tables = source_light(clean_vis, clean_vis.blank(), source, _OBSERVATION)
    truth = TableTruth(tables)
    edges = np.linspace(598.0, 602.0, 201)
    counts = truth.truth_counts(1, edges)
    centre = (counts * 0.5 * (edges[1:] + edges[:-1])).sum() / counts.sum()
    assert centre == pytest.approx(600.0, abs=1e-3)
    photons = 1e-15 * 600.0 / 1.98644586e-9 * 89000.0 * 600.0
    transmission = truth._column(1, "object_slit_transmission", np.array([600.0]), "object")[0]
    assert 0.1 < counts.sum() / (photons * transmission) < 0.3  # the arm's efficiency


def test_sky_fills_the_slit(clean_vis):
    """Light across an order, per arcsec inside the slit, is the truth; there is none outside."""
    effects = Effects.from_mapping({"pixel_response": 0.0, "fringing": 0.0, "scattered_light": 0.0})
    spectrograph = Spectrograph.of_seed("VIS", 3, effects)
    scene = sky_scene(spectrograph, _OBSERVATION)
    spectrum = scene.spectra[4]
    expected = SLIT_LENGTH * (spectrum.integral(np.array([2999.5])) - spectrum.integral(np.array([999.5])))[0]
    found = _order_sum(spectrograph, scene.electrons, 4, 999.5, 2999.5)
    assert expected > 1e4
    assert found == pytest.approx(expected, rel=2e-3)
    assert scene.electrons[2000, :20].max() == 0.0
    displacement = scene.tables["airglow_wavelength"] - scene.tables["airglow_catalogue_wavelength"]
    below = scene.tables["airglow_wavelength"] < 900.0
    assert below.sum() > 100
    assert 0.001 < np.median(np.abs(displacement[below])) < 0.003


def test_arc_lines_are_those_of_the_list_but_displaced():
    spectrograph = Spectrograph.of_seed("VIS", 3, Effects())
    tables = arc_scene(spectrograph, np.array([0.0])).tables
    listed = np.isfinite(tables["line_catalogue_wavelength"])
    assert listed.sum() > 100
    assert (~listed).sum() > 50
    displacement = (tables["line_wavelength"] - tables["line_catalogue_wavelength"])[listed]
    assert 1e-4 < displacement.std() < 3e-4
    x, y = spectrograph.model.evaluate(1, tables["line_wavelength"], 0.0)
    first = tables["line_order"] == 1
    np.testing.assert_allclose(tables["line_x"][first], x[first])
    np.testing.assert_allclose(tables["line_y"][first], y[first])


@pytest.mark.parametrize("width", [None, 1.0, 5.0])
def test_flat_reaches_its_level(clean_vis, width):
    scene = flat_scene(clean_vis, 40000.0, "QTH", width)
    assert scene.electrons.max() == pytest.approx(40000.0, rel=0.12)
    assert set(scene.tables) == {"lamp_order", "lamp_dispersion_pixel", "lamp_wavelength", "lamp_electrons"}


def test_deuterium_shines_in_the_blue(clean_vis):
    levels = {}
    for lamp in ("QTH", "D2"):
        tables = flat_scene(clean_vis, 40000.0, lamp, 1.0).tables
        levels[lamp] = [np.median(tables["lamp_electrons"][tables["lamp_order"] == order]) for order in (2, 4)]
    assert levels["QTH"][0] < 0.3 * levels["QTH"][1]
    assert levels["D2"][0] > levels["D2"][1]


def test_fringes_and_scattered_light_switch(clean_vis):
    base = {"pixel_response": 0.0}
    images = {}
    for name, changes in {
        "none": {"fringing": 0.0, "scattered_light": 0.0},
        "fringes": {"scattered_light": 0.0},
        "scattered": {"fringing": 0.0},
    }.items():
        spectrograph = Spectrograph.of_seed("VIS", 3, Effects.from_mapping({**base, **changes}))
        images[name] = flat_scene(spectrograph, 40000.0).electrons
    bright = images["none"] > 10000.0
    ratio = images["fringes"][bright] / images["none"][bright]
    assert 0.005 < ratio.std() < 0.05
    assert abs(ratio.mean() - 1.0) < 0.003
    dark = images["none"] == 0.0
    assert dark.sum() > 1e6
    assert 0.001 * 40000.0 < np.median(images["scattered"][dark]) < 0.05 * 40000.0
