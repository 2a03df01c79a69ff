"""The master flat against the pixels' true response and the slit's true illumination."""

import numpy as np
import pytest
from scipy.special import ndtr

from soxs_recipes.data.quality import QualityFlag, is_usable
from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.reduction.flat import blaze
from soxs_recipes.reduction.flat.flat_combination import combine_exposures
from soxs_recipes.reduction.flat.flat_field import slit_tilts
from soxs_recipes.reduction.flat.flat_reduction import LampExposures, near_centres, reduce_flats

KINDS = ["echelle", "quasi_orders"]


def exposures(scene, flux=60000.0, count=3, seed=0, lamp=None, scattered=100.0, hits=100, name="QTH"):
    light = scene.slit_flat(flux, lamp)
    frames = [
        scene.frame(light * (1.0 + 0.03 * k), seed=100 * seed + k, hits=hits, scattered=scattered, photons=False)
        for k in range(count)
    ]
    return LampExposures(name, frames)


def reduced(scene, lamps, **options):
    tilts = {order: np.full(scene.rows, scene.tilt) for order in scene.orders}
    options = {"tilts": tilts, "knot_spacing": 200.0, **options}
    return reduce_flats(lamps, scene.true_table(edges=False), **options)


def pulls(scene, master, margin=3.0):
    """(value - truth) / sigma of the flat-fielded pixels inside the edges."""
    truth, _ = scene.true_flat()
    inner = scene.true_table().order_image(truth.shape, margin=-margin) > 0
    frame = master.frame
    good = inner & is_usable(frame.quality) & ((frame.quality & QualityFlag.NO_FLAT) == 0)
    return (frame.data - truth)[good] / np.sqrt(frame.variance[good])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("denoise", [True, False])
def test_errors_of_the_flat_are_true(kind, denoise, request):
    scene = request.getfixturevalue(kind)()
    master = reduced(scene, [exposures(scene)], denoise=denoise).master
    pull = pulls(scene, master)
    assert pull.size > 100_000
    assert abs(pull.mean()) < 0.05
    assert 0.95 < pull.std() < 1.05
    # The check notices an error of half a per mille, and one per cent of wrong noise is within its width.
    worse = pull + 0.0005 / np.sqrt(np.median(master.frame.variance[master.smooth > 0]))
    assert abs(worse.mean()) > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_no_good_pixel_is_called_insensitive_and_poor_ones_are(kind, request):
    scene = request.getfixturevalue(kind)()
    rng = np.random.default_rng(7)
    inside = scene.true_table().order_image(scene.turn(scene.response).shape, margin=-4.0) > 0
    inside = inside if scene.axis == 0 else inside.T
    places = rng.choice(np.flatnonzero(inside), 60, replace=False)
    scene.response.ravel()[places] = 0.3
    frame = reduced(scene, [exposures(scene)]).master.frame
    low = (frame.quality & (QualityFlag.LOW_SENSITIVITY | QualityFlag.OUTLIER)) != 0
    low = low if scene.axis == 0 else low.T
    found = np.zeros(scene.response.shape, dtype=bool)
    found.ravel()[places] = True
    assert (low & found).sum() == 60
    assert (low & ~found).sum() == 0


def test_a_pixel_of_odd_response_keeps_it(quasi_orders):
    scene = quasi_orders()
    lower, upper = scene.edges(1)
    rows = np.arange(500, 900, 20)
    columns = np.rint(0.5 * (lower + upper))[rows].astype(int)
    scene.response[rows, columns] = 0.8
    frame = reduced(scene, [exposures(scene)]).master.frame
    truth, _ = scene.true_flat()
    pull = (frame.data - truth)[rows, columns] / np.sqrt(frame.variance[rows, columns])
    assert pull.size == 20
    assert np.abs(pull).max() < 4.5


def test_between_orders_it_is_one(echelle):
    scene = echelle()
    result = reduced(scene, [exposures(scene)])
    between = result.edges.table.order_image(result.master.frame.shape) == 0
    assert between.sum() > 100_000
    assert (result.master.frame.data[between] == 1.0).all()
    assert (result.master.frame.variance[between] == 0.0).all()
    assert ((result.master.frame.quality[between] & QualityFlag.OUTSIDE_ORDER) != 0).all()


def test_faint_ends_cost_no_more_than_the_pixels_differ(quasi_orders):
    scene = quasi_orders()
    raw, denoised = (
        reduced(scene, [exposures(scene, 2000.0)], denoise=flag).master.frame for flag in (False, True)
    )
    inside = scene.true_table().order_image(raw.shape, margin=-3.0) > 0
    ends = inside & (np.arange(scene.rows)[:, None] < 100)
    ends &= (raw.quality & QualityFlag.NO_FLAT) == 0
    assert ends.sum() > 5000
    assert np.median(np.sqrt(raw.variance[ends])) > 0.02
    assert np.median(np.sqrt(denoised.variance[ends])) < 0.007
    truth, _ = scene.true_flat()
    assert np.std((denoised.data - truth)[ends]) < 0.008


def test_two_lamps_join_where_each_is_good(quasi_orders):
    scene = quasi_orders()

    def red(_k, u):
        return 0.002 + ndtr((u - 700.0) / 150.0)

    def blue(_k, u):
        line = 6.0 * np.exp(-0.5 * ((u - 1100.0) / 2.0) ** 2)
        return 0.002 + ndtr((700.0 - u) / 150.0) + 0.3 * line

    both = reduced(scene, [exposures(scene, lamp=red), exposures(scene, lamp=blue, seed=1, name="D2")])
    pull = pulls(scene, both.master)
    assert abs(pull.mean()) < 0.08
    assert 0.93 < pull.std() < 1.07
    # Nowhere a seam: the mean deviation of any stretch of rows is a small part of a pixel's error.
    truth, _ = scene.true_flat()
    inner = scene.true_table().order_image(truth.shape, margin=-3.0) == 2
    means = [(both.master.frame.data - truth)[rows][inner[rows]].mean() for rows in np.split(np.arange(1500), 30)]
    assert np.abs(means).max() < 0.001


def test_a_saturated_lamp_does_not_move_edges_that_the_other_shows(quasi_orders):
    scene = quasi_orders()
    bright, faint = exposures(scene), exposures(scene, flux=5000.0, seed=1, name="D2")
    for frame in bright.frames:
        saturated = frame.data > 30_000.0
        assert saturated.mean() > 0.05
        frame.data[saturated] = 30_000.0
        frame.quality[saturated] |= QualityFlag.SATURATED
    table = reduced(scene, [bright, faint]).edges.table
    along = np.linspace(150.0, 1350.0, 25)
    for k, trace in enumerate(table.traces):
        found = trace.edges_at(along)
        for curve, true in zip(found, scene.edges(k, along), strict=True):
            assert np.abs(curve - true).max() < 0.1


def test_a_dark_lamp_is_left_out_and_a_dark_order_said(quasi_orders):
    scene = quasi_orders()
    nothing = np.zeros((scene.rows, scene.columns))
    dark = LampExposures("D2", [scene.frame(nothing, seed=k, photons=False) for k in range(3)])
    lit = exposures(scene, lamp=lambda k, u: np.full_like(u, 0.0 if k == 2 else 1.0))
    result = reduced(scene, [lit, dark])
    assert result.dark_lamps == ("D2",)
    assert result.master.dark_orders == (scene.orders[2],)
    _, orders = scene.true_flat()
    inside = (result.edges.table.order_image(orders.shape) == scene.orders[2]) & (orders == scene.orders[2])
    assert inside.sum() > 10_000
    assert (result.master.frame.data[inside] == 1.0).all()
    assert ((result.master.frame.quality[inside] & QualityFlag.NO_FLAT) != 0).all()
    with pytest.raises(UnprocessableData, match="no light"):
        reduced(scene, [dark])


def test_lamp_off_exposures_take_hot_pixels_away(echelle):
    scene = echelle()
    background = np.full((scene.rows, scene.columns), 30.0)
    background[::40, ::40] = 2000.0
    light = scene.slit_flat(60000.0)
    on = [scene.frame(light + background, seed=k, photons=False) for k in range(3)]
    off = [scene.frame(background, seed=50 + k, hits=200, photons=False) for k in range(4)]
    pull = pulls(scene, reduced(scene, [LampExposures("QTH", on, off)]).master)
    assert abs(pull.mean()) < 0.05
    assert 0.95 < pull.std() < 1.05


def test_fringes_stay_in_the_flat(quasi_orders):
    scene = quasi_orders()
    fringes = 1.0 + 0.03 * np.sin(2.0 * np.pi * np.arange(scene.rows) / 55.0)[:, None]
    scene.response = scene.response * fringes
    pull = pulls(scene, reduced(scene, [exposures(scene)], knot_spacing=256.0).master)
    assert abs(pull.mean()) < 0.08
    assert pull.std() < 1.1


@pytest.mark.parametrize("height", [3.0, 0.4, -0.3])
def test_lines_of_a_lamp_do_not_stay_in_the_flat(quasi_orders, height):
    scene = quasi_orders()
    lamp = exposures(scene, lamp=lambda _k, u: 1.0 + height * np.exp(-0.5 * ((u - 700.0) / 2.5) ** 2))
    left, divided = (reduced(scene, [lamp], lamp_line_limit=limit).master for limit in (0.0, 0.12))
    truth, _ = scene.true_flat()
    near = scene.true_table().order_image(truth.shape, margin=-3.0) > 0
    near &= np.abs(np.arange(scene.rows) - 700.0)[:, None] < 12
    assert near.sum() > 2000
    assert np.abs(left.frame.data - truth)[near].max() > 0.2
    pull = (divided.frame.data - truth)[near] / np.sqrt(divided.frame.variance[near])
    assert divided.frame.usable[near].all()
    assert pull.std() < 1.5
    assert np.abs(divided.frame.data - truth)[near].mean() < 0.006


def test_a_defect_of_detector_rows_is_no_lamp_line(quasi_orders):
    scene = quasi_orders()
    scene.response[700:703] = 0.7
    frame = reduced(scene, [exposures(scene)]).master.frame
    truth, _ = scene.true_flat()
    inner = (scene.true_table().order_image(truth.shape, margin=-3.0) > 0)[700:703]
    assert inner.sum() > 200
    assert np.abs((frame.data - truth)[700:703][inner]).mean() < 0.05


def test_identical_input_gives_identical_data(echelle):
    scene = echelle()
    lamps = [exposures(scene, count=3)]
    first, second = (reduced(scene, lamps) for _ in range(2))
    np.testing.assert_array_equal(first.master.frame.data, second.master.frame.data)
    np.testing.assert_array_equal(first.master.frame.variance, second.master.frame.variance)
    np.testing.assert_array_equal(first.master.frame.quality, second.master.frame.quality)


def test_blaze_follows_a_factor_of_hundred(quasi_orders):
    scene = quasi_orders()
    for k, curve in enumerate(reduced(scene, [exposures(scene)]).master.blazes):
        light = scene.illumination(k)
        at_centre = light[np.arange(scene.rows), np.rint(scene.centre(k)).astype(int)]
        truth = 60000.0 * 1.03 * scene.blaze(k, curve.along) * at_centre
        assert curve.blaze.max() / curve.blaze[curve.blaze > 0].min() > 40
        good = curve.blaze > 0
        assert good.mean() > 0.98
        assert np.abs(curve.blaze / truth - 1.0)[good].max() < 0.01


def test_levels_and_hits_of_exposures(quasi_orders):
    scene = quasi_orders()
    lamp = exposures(scene, hits=500, scattered=0.0)
    lit = near_centres(scene.true_table(edges=False), lamp.frames[0].shape)
    combined = combine_exposures(lamp.frames, lit)
    np.testing.assert_allclose(combined.levels, (1.0 + 0.03 * np.arange(3)) / 1.03, rtol=3e-4)
    assert 3 * 300 < combined.rejected < 3 * 520
    truth = 1.03 * scene.slit_flat(60000.0)
    pull = (combined.signal - truth) / np.sqrt(combined.variance(truth))
    assert abs(pull.mean()) < 0.05
    assert 0.97 < pull.std() < 1.03


def test_an_exposure_without_light_is_dropped(quasi_orders):
    scene = quasi_orders()
    lamp = exposures(scene, hits=0)
    dark = scene.frame(np.zeros((scene.rows, scene.columns)), seed=99, photons=False, name="failed")
    result = reduced(scene, [LampExposures("QTH", [*lamp.frames, dark])])
    assert result.dark_exposures == ("failed",)
    assert abs(pulls(scene, result.master).mean()) < 0.05


def test_a_lamp_that_changes_colour_is_not_taken_for_hits(quasi_orders):
    scene = quasi_orders()
    light = scene.slit_flat(60000.0)
    colour = np.linspace(-0.1, 0.1, scene.rows)[:, None]
    signals = [light * (1.0 + k * colour) for k in (-1, 0, 1)]
    frames = [scene.frame(signal, seed=k, photons=False, hits=300) for k, signal in enumerate(signals)]
    lit = near_centres(scene.true_table(edges=False), frames[0].shape)
    combined = combine_exposures(frames, lit)
    assert combined.rejected < 3 * 400
    seen = combined.photon_factor > 0
    assert seen.mean() > 0.9999
    pull = (combined.signal - light)[seen] / np.sqrt(combined.variance(light)[seen])
    assert 0.97 < pull.std() < 1.05


def test_exposures_of_different_shape_are_refused(quasi_orders):
    scene, other = quasi_orders(), quasi_orders(rows=1400)
    frames = [scene.frame(scene.slit_flat(100.0), seed=1), other.frame(other.slit_flat(100.0), seed=1)]
    with pytest.raises(InputError, match="shape"):
        combine_exposures(frames, np.ones((1500, 480), dtype=bool))


def test_tilts_of_a_dispersion_solution():
    from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution

    terms = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
    zeros = np.zeros((3, 3))
    x, y = np.array([40.0, 3.0, 20.0]), np.array([50.0, 80.0, -4.0])
    block = DispersionBlock((1,), terms, x, y, zeros, zeros, (1, 1), (400, 500), (-6, 6))
    solution = DispersionSolution((block,))
    np.testing.assert_allclose(slit_tilts(solution, {1: (400, 500)}, 100, 0)[1], -0.2)
    np.testing.assert_allclose(slit_tilts(solution, {1: (400, 500)}, 100, 1)[1], -5.0)
    np.testing.assert_allclose(slit_tilts(solution, {1: (400, 500)}, 50, 0, (2, 1))[1], -0.1)


def test_a_part_of_the_pixels_is_enough_to_start_with(quasi_orders, monkeypatch):
    scene = quasi_orders()
    lamp = exposures(scene)
    fast = reduced(scene, [lamp]).master
    monkeypatch.setattr(blaze, "_PART", 1)
    whole = reduced(scene, [lamp]).master
    assert 42 * scene.rows > blaze._LEAST_PIXELS * 2  # an order has enough pixels for parts
    inside = whole.frame.variance > 0
    pull = (fast.frame.data - whole.frame.data)[inside] / np.sqrt(whole.frame.variance[inside])
    assert pull.size > 100_000
    assert 0.0 < np.abs(pull).max() < 0.1
