from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.errors import AlgorithmError, UnprocessableData
from soxs_recipes.reduction.dispersion.arc_lines import ArcSettings, solve_arc
from soxs_recipes.reduction.dispersion.arc_tables import LineStatus


def solve(scene, prior=None, **settings):
    return solve_arc(
        scene.data,
        scene.variance,
        scene.usable,
        prior or scene.layout.prior(),
        scene.lines,
        slit_positions=scene.slits,
        dispersion_axis=scene.layout.dispersion_axis,
        common_shift=scene.layout.echelle or len(scene.slits) > 1,
        smooth_orders=scene.layout.echelle,
        settings=ArcSettings(**settings) if settings else None,
    )


def rms(errors):
    return np.array([[np.sqrt((e**2).mean()) for e in pair] for pair in errors.values()])


def worst(errors):
    return max(np.abs(e).max() for pair in errors.values() for e in pair)


@pytest.mark.parametrize(("kind", "shift"), [("bands", (4.0, -3.0)), ("echelle", (-14.0, 12.0))])
def test_solution_against_the_truth(arc_scene, kind, shift):
    scene = arc_scene(kind, seed=4, shift=shift)
    result = solve(scene)
    errors = scene.solution_error(result.solution)
    assert len(errors) == len(scene.layout.ranges)
    assert rms(errors).max() < 0.03
    assert np.sqrt((rms(errors) ** 2).mean()) < 0.02
    assert worst(errors) < 0.1
    table = result.lines
    x, y = scene.true_places(table)
    assert table.kept.sum() > 0.75 * len(scene.lines)
    pull = np.concatenate(
        [((table.x - x) / table.x_error)[table.kept], ((table.y - y) / table.y_error)[table.kept]]
    )
    assert 1.4826 * np.median(np.abs(pull)) == pytest.approx(1.0, abs=0.25)


def test_a_shift_of_the_solution_would_be_seen(arc_scene):
    scene = arc_scene("bands", seed=4)
    solution = solve(scene).solution
    assert worst(scene.solution_error(solution.shifted(0.0, 0.1))) > 0.1
    assert worst(scene.solution_error(solution.shifted(0.1, 0.0))) > 0.1


def test_unblended_lines_are_kept(arc_scene):
    scene = arc_scene("echelle", seed=6, missing=0.0)
    table = solve(scene).lines
    clean = ~table.blend & table.inside
    assert clean.sum() > 60
    assert table.kept[clean].mean() >= 0.95


def test_displaced_wavelengths_become_scatter_not_bias(arc_scene):
    scene = arc_scene("bands", seed=8, displacement=0.003, lines=40)
    result = solve(scene)
    scatter = list(result.fit.wavelength_scatter.values())
    assert 0.001 < np.median(scatter) < 0.006
    errors = scene.solution_error(result.solution)
    assert len(errors) == 3
    assert rms(errors).max() < 0.08


def test_line_profile_need_not_be_gaussian(arc_scene):
    scene = arc_scene("echelle", seed=5, wings=0.15)
    assert rms(scene.solution_error(solve(scene).solution)).max() < 0.03


def test_two_dimensional_solution(arc_scene):
    slits = tuple(1.3 * np.arange(-4, 5))
    single = arc_scene("echelle", seed=9, missing=0.0)
    first = solve(single).solution
    scene = arc_scene("echelle", seed=9, slits=slits, shift=(3.4, -2.3), missing=0.0)
    result = solve(scene, prior=first, shift_sigma=12.0)
    errors = scene.solution_error(result.solution, slits=(-5.0, -2.5, 0.0, 2.5, 5.0))
    assert rms(errors).max() < 0.03
    assert worst(errors) < 0.1
    assert result.shift == pytest.approx((0.4, -0.3), abs=0.1)
    counts = np.bincount(result.lines.pinhole[result.lines.kept], minlength=9)
    assert counts.min() > 0.7 * counts.max()


def test_a_dead_order_and_an_empty_band_degrade(arc_scene):
    scene = arc_scene("bands", seed=3, dead_orders=(2,))
    result = solve(scene)
    errors = scene.solution_error(result.solution)
    alive = {k: v for k, v in errors.items() if k != 2}
    assert rms(alive).max() < 0.03
    assert worst({2: errors[2]}) < 3.0
    assert not result.lines.kept[result.lines.order == 2].any()
    assert any("order 2" in note for note in result.notes)


def test_status_says_what_became_of_each_line(arc_scene):
    scene = arc_scene("bands", seed=12, missing=0.3)
    bright = np.argmax(np.where(scene.lines.order == 1, scene.lines.intensity, 0.0))
    x, y = scene.layout.place(1, scene.lines.wavelength[bright], 0.0)
    usable = scene.usable.copy()
    usable[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = False
    table = solve(replace(scene, usable=usable)).lines
    assert set(np.unique(table.status)) >= {LineStatus.KEPT, LineStatus.NOT_FOUND}
    assert table.status[bright] in (LineStatus.UNUSABLE_PIXELS, LineStatus.NOT_FOUND)
    assert np.isfinite(table.x[table.kept]).all()
    assert np.isfinite(table.resolving_power[table.kept]).all()
    assert (table.status == LineStatus.NOT_FOUND).sum() >= 0.2 * len(scene.lines)


def test_same_input_same_output(arc_scene):
    scene = arc_scene("bands", seed=2)
    first, second = solve(scene), solve(scene)
    for a, b in zip(first.solution.blocks, second.solution.blocks, strict=True):
        assert np.array_equal(a.x_coefficients, b.x_coefficients)
        assert np.array_equal(a.y_covariance, b.y_covariance)


def test_useless_frames_are_refused(arc_scene):
    scene = arc_scene("bands", seed=1)
    with pytest.raises(UnprocessableData):
        solve(replace(scene, data=np.zeros_like(scene.data)))
    with pytest.raises(UnprocessableData):
        solve(replace(scene, usable=np.zeros_like(scene.usable)))
    noise = np.random.default_rng(0).normal(0.0, 5.0, scene.data.shape).astype(np.float32)
    with pytest.raises((UnprocessableData, AlgorithmError)):
        solve(replace(scene, data=noise))


def test_spots_at_random_are_not_an_arc(arc_scene, spots):
    scene = arc_scene("bands", seed=1)
    spot_image, exposed = spots
    random = np.random.default_rng(6)
    n = 400
    places = random.uniform(5.0, 1195.0, n), random.uniform(20.0, 170.0, n)
    image = spot_image(scene.data.shape, places[1], places[0], np.full(n, 5000.0), 0.95) + 10.0
    data, variance = exposed(image, random)
    with pytest.raises(AlgorithmError):
        solve(replace(scene, data=data, variance=variance))
