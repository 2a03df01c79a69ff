"""soxs_lingain on a simulated series: gain, read noise, curve and odd pixels against the simulator's truth."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.fits_files import read_linearity, read_quality, read_table
from soxs_recipes.instrument import load_instrument, static_calibration_path
from soxs_recipes.recipes import lingain
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.preparation import prepare_detailed
from soxs_recipes.recipes.lingain import LinearityAndGain
from soxs_recipes.recipes.steps import linearity_frames
from soxs_recipes.recipes.steps.linearity_correction import curves_of, known_bad_pixels
from soxs_recipes.simulator import Effects
from soxs_recipes.simulator.detector import limited, mean_curvature
from soxs_recipes.simulator.frames import FrameMaker, pointing_of
from soxs_recipes.simulator.night import exposures

_SEED, _TIMES = 11, (1.0, 4.0, 10.0, 18.0, 26.0, 34.0, 46.0, 60.0)
_EFFECTS = Effects.from_mapping({"curvature": 1.0})


def run(frames, folder, **settings):
    return run_recipe(LinearityAndGain, [str(path) for path in frames], settings, str(folder))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """(paths, detector) of eight pairs with a lonely exposure, and three biases."""
    folder = tmp_path_factory.mktemp("series")
    maker = FrameMaker("VIS", _SEED, _EFFECTS)
    planned = [e for e in exposures("lingain", _SEED, _EFFECTS) if e.request.arm == "VIS"]
    biases = [e for e in planned if e.request.kind.name == "bias"][:3]
    lit = [e for e in planned if e.request.exposure_time in _TIMES and e.request.kind.name == "linearity"]
    lit.append(replace(lit[4], request=replace(lit[4].request, index=999)))
    paths = []
    for number, exposure in enumerate([*biases, *lit]):
        frame = maker.make(exposure.request, exposure.sequence, pointing_of(exposure.request))
        paths.append(folder / f"frame{number:02}.fits")
        fits.PrimaryHDU(frame.data, frame.header).writeto(paths[-1])
    return paths, maker.detector


@pytest.fixture(scope="module")
def result(series, tmp_path_factory):
    return run(series[0], tmp_path_factory.mktemp("out"))


def product(run, tag):
    (path,) = [one.path for one in run.products if one.tag == tag]
    return path


def test_gain_and_read_noise_are_the_detectors(result, series):
    detector = series[1]
    assert result.status == "COMPLETE", result.reasons
    table = read_table(product(result, "GAIN_INFO_VIS"), "GAIN")
    assert table["AMPLIFIER"].tolist() == [1]
    assert table["GAIN"][0] == pytest.approx(detector.hardware.gain, rel=0.005)
    assert abs(table["GAIN"][0] - detector.hardware.gain) < 4.0 * table["GAIN_ERR"][0]
    assert table["READ_NOISE"][0] == pytest.approx(detector.hardware.read_noise, rel=0.01)
    # The converter's 65535 ADU come before the full well of 150 ke-.
    assert bool(table["CONVERTER"][0])
    assert table["FULL_WELL"][0] == pytest.approx((65535 - 500) * 2.0, rel=0.01)
    header = fits.getheader(product(result, "GAIN_INFO_VIS"))
    assert header["ESO QC GAIN"] == pytest.approx(table["GAIN"][0], rel=1e-4)
    assert header["ESO QC N PAIRS"] == 8
    assert header["ESO QC SHUTTER DELAY"] == pytest.approx(0.015, abs=0.003)


def test_the_curve_takes_the_simulated_one_back(result, series):
    detector = series[1]
    hardware = detector.hardware
    (curve,) = read_linearity(product(result, "LINEARITY_COEFF_VIS"))
    assert curve.columns == (0, 808)
    light = np.linspace(2000.0, 125000.0, 300).astype(np.float32)
    bent = mean_curvature("VIS", _SEED, _EFFECTS)
    read = limited(detector.recorded(light, np.float32(bent)), hardware, _EFFECTS).astype(float) / hardware.gain
    inside = read < curve.limit
    assert read[inside].max() * hardware.gain > 80000.0
    assert np.abs(read * hardware.gain / light - 1.0)[inside].max() > 0.02
    assert np.abs(curve.corrected(read) * hardware.gain / light - 1.0)[inside].max() < 1e-3


def test_odd_pixels_are_found_where_light_tells(result, series):
    detector = series[1]
    bits = read_quality(product(result, "BP_MAP_NL_VIS"))
    assert set(np.unique(bits)) <= {0, 16}
    found = bits != 0
    false = int(np.count_nonzero(found & ~detector.deviating & ~detector.dead))
    right = int(np.count_nonzero(found & detector.deviating))
    assert right > 40
    assert false <= 0.1 * right


def test_what_was_left_out_is_said(result):
    assert any("it has no partner" in note for note in result.notes)


def test_two_pairs_are_too_few(series, tmp_path):
    few = list(series[0][3:7])
    failed = run(few, tmp_path)
    assert failed.status == "FAILED"
    assert not failed.products


def test_without_biases_the_read_noise_comes_from_the_fit(series, tmp_path):
    partial = run(series[0][3:17], tmp_path)
    assert partial.status == "PARTIAL"
    assert any("no frames without light" in reason for reason in partial.reasons)
    table = read_table(product(partial, "GAIN_INFO_VIS"), "GAIN")
    assert table["GAIN"][0] == pytest.approx(2.0, rel=0.01)
    assert np.isnan(table["READ_NOISE_ERR"][0])


class _Inputs:
    """What the correction asks of a recipe's inputs."""

    def __init__(self, asked, **calibrations):
        self.parameters = {"correct-linearity": asked}
        self.reasons = []
        self.calibration = calibrations.get
        self.mark_partial = self.reasons.append


def test_the_correction_is_applied_when_asked(result, series):
    arm, path = load_instrument().arm("VIS"), series[0][13]  # 34 s
    inputs = _Inputs(True, LINEARITY_COEFF=product(result, "LINEARITY_COEFF_VIS"))
    assert curves_of(_Inputs(False, LINEARITY_COEFF=product(result, "LINEARITY_COEFF_VIS"))) == ()
    curves = curves_of(inputs)
    plain = prepare_detailed(path, arm, poisson=False).frame
    linear = prepare_detailed(path, arm, poisson=False, linearity=curves).frame
    signal = plain.data / plain.meta.gain
    expected = curves[0].corrected(signal) * plain.meta.gain
    np.testing.assert_allclose(linear.data, expected, rtol=1e-5, atol=1e-2)
    slope = curves[0].slope(signal)
    np.testing.assert_allclose(linear.variance, plain.variance * slope**2, rtol=1e-5)
    assert slope.max() > 1.03
    beyond = signal > curves[0].limit
    flagged = (linear.quality & np.int32(QualityFlag.NON_LINEAR)) != 0
    assert flagged[beyond].all()
    assert not inputs.reasons


def test_corrected_frames_are_the_light(result, series):
    """Against the simulator's own electrons; frames that are left as they are miss up to 3 %."""
    paths, detector = series
    arm = load_instrument().arm("VIS")
    maker = FrameMaker("VIS", _SEED, _EFFECTS)
    start = fits.getheader(paths[13])["DATE-OBS"]
    (planned,) = [
        e
        for e in exposures("lingain", _SEED, _EFFECTS)
        if e.sequence.start.isot == start and e.request.arm == "VIS"
    ]
    light = maker.scene(planned.request).electrons * detector.response
    curves = curves_of(_Inputs(True, LINEARITY_COEFF=product(result, "LINEARITY_COEFF_VIS")))
    bright = (light > 60000.0) & (light < 80000.0) & ~detector.deviating & ~detector.dead
    assert bright.sum() > 1000
    ratios = {}
    for name, used in (("as read", ()), ("linear", curves)):
        frame = prepare_detailed(paths[13], arm, poisson=False, linearity=used).frame
        ratios[name] = float(np.median(frame.data[bright] / light[bright]))
    assert ratios["linear"] == pytest.approx(1.0, abs=1e-3)
    assert ratios["as read"] < 0.99


def test_a_correction_without_curves_is_said():
    inputs = _Inputs(True)
    assert curves_of(inputs) == ()
    assert inputs.reasons == ["no LINEARITY_COEFF: signals are not made linear"]


def test_non_linear_pixels_join_the_known_bad_ones_when_asked(result):
    known = static_calibration_path("BP_MAP_REF_VIS")
    odd = product(result, "BP_MAP_NL_VIS")
    assert known_bad_pixels(_Inputs(False, BP_MAP_REF=known, BP_MAP_NL=odd)) == known
    both = known_bad_pixels(_Inputs(True, BP_MAP_REF=known, BP_MAP_NL=odd))
    np.testing.assert_array_equal(both, read_quality(known) | read_quality(odd))
    assert np.count_nonzero(both) > np.count_nonzero(read_quality(known))


def _layout(**fields):
    return SimpleNamespace(**{"amplifiers": (), "science_window": (0, 8, 0, 8)} | fields)


def _prepared(path, time, level):
    """A frame of 8 x 8 pixels of 2 e- an ADU, one of them hot."""
    data = np.full((8, 8), 2.0 * level, np.float32)
    data += np.random.default_rng(len(path.stem)).normal(0.0, 4.0, data.shape).astype(np.float32)
    data[3, 4] += 2.0 * 50.0 * time
    meta = FrameMeta(name=path.stem, exposure_time=time, gain=2.0, read_noise=4.0)
    frame = Frame(data, np.full(data.shape, 16.5, np.float32), np.zeros(data.shape, np.int32), meta)
    return SimpleNamespace(frame=frame, notes=(), shortcoming="", setup=SimpleNamespace(layout=_layout()))


def test_the_shortest_unlit_frames_tell_the_noise_and_hot_pixels_take_no_part(monkeypatch):
    times = {"d1": 1.0, "d2": 1.0, "d3": 40.0} | {f"f{n}{k}": float(n) for n in (2, 4, 8) for k in "ab"}
    paths = {name: Path(f"{name}.fits") for name in times}
    inputs = SimpleNamespace(
        declaration=LinearityAndGain.declaration,
        arm=load_instrument().arm("NIR"),
        keyword=lambda name, path=None, default=None: times[path.stem] if name == "EXPTIME" else default,
        note=lambda _: None,
        mark_partial=lambda _: None,
    )
    monkeypatch.setattr(
        linearity_frames,
        "_prepared",
        lambda _, chosen: (_prepared(path, times[path.stem], 100.0 * times[path.stem]) for path in chosen),
    )
    lit, unlit = ([path for name, path in paths.items() if name[0] == kind] for kind in "fd")
    series = linearity_frames.read_series(inputs, lit, unlit)
    assert [pair.time for pair in series.pairs] == [2.0, 4.0, 8.0]
    assert [time for time, _ in series.dark] == [1.0, 1.0]
    assert np.argwhere(~series.good).tolist() == [[3, 4]]
    assert len(series.used) == 9


def test_amplifiers_share_the_whole_detector_of_which_the_science_window_is_a_part():
    inputs = SimpleNamespace(arm=load_instrument().arm("NIR"), keyword=lambda name: {"OUTPUTS": 4}[name])
    meta = SimpleNamespace(binning=(1, 1))
    prepared = SimpleNamespace(
        setup=SimpleNamespace(layout=_layout(science_window=(4, 2044, 4, 2044))), frame=SimpleNamespace(meta=meta)
    )
    assert inputs.arm.detector.raw_shape == (2048, 2048)
    columns = linearity_frames._amplifiers(prepared, 2040, inputs)
    assert columns == [(0, 508), (508, 1020), (1020, 1532), (1532, 2040)]
    inputs.keyword = lambda name: None
    assert linearity_frames._amplifiers(prepared, 2040, inputs) == [(0, 2040)]


def test_the_read_noise_is_as_uncertain_as_noise_and_gain():
    result = SimpleNamespace(transfer=SimpleNamespace(gain=2.0, gain_error=0.1, noise_floor=9.0 + 1.0 / 12.0))
    noise, error = lingain._noise_of(result, (4.0, 0.15))
    assert (noise, error) == (8.0, pytest.approx(np.hypot(2.0 * 0.15, 0.1 * 4.0)))
    fitted, unknown = lingain._noise_of(result, None)
    assert fitted == pytest.approx(6.0)
    assert np.isnan(unknown)


def test_the_detector_is_as_good_as_its_worst_amplifier(monkeypatch):
    every = [
        {"GAIN": 2.0, "GAIN ERR": 0.01, "RON": 8.0, "LIN RES MAX": 0.02, "LIN LIMIT": 9e4, "FULL WELL": 1.3e5},
        {"GAIN": 2.2, "GAIN ERR": 0.03, "RON": 9.0, "LIN RES MAX": 0.05, "LIN LIMIT": 8e4, "FULL WELL": 1.2e5},
    ]
    monkeypatch.setattr(lingain, "_amplifier_values", lambda result, noise: every[result.number])
    results = [SimpleNamespace(number=number, linearity=None) for number in (0, 1)]
    bad, known = np.zeros((4, 4), np.int32), np.ones((4, 4), bool)
    bad[1, 2] = 16
    qc = lingain._values(SimpleNamespace(pairs=[1, 2, 3]), results, [None, None], (bad, known), ccd=True)
    values = {item.name: item.value for item in qc}
    assert values["GAIN"] == pytest.approx(2.1)
    assert values["RON"] == pytest.approx(8.5)
    worst = ("GAIN ERR", "LIN RES MAX", "LIN LIMIT", "FULL WELL")
    assert [values[name] for name in worst] == [0.03, 0.05, 8e4, 1.2e5]
    assert (values["GAIN AMP1"], values["GAIN AMP2"], values["N PAIRS"]) == (2.0, 2.2, 3)
    assert (values["BADPIX NUM"], values["BADPIX FRAC"]) == (1, 1.0 / 16.0)
