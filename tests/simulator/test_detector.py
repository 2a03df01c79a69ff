"""Detectors: noise that is what the header says, and flaws that switch."""

import dataclasses

import numpy as np
import pytest

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.detector import binned, cosmic_rays, detector_state, expose, poisson, scattered_light
from soxs_recipes.simulator.effects import Effects
from soxs_recipes.simulator.frames import simulate_frame
from soxs_recipes.simulator.hardware import ARMS, generator


@pytest.fixture(scope="module", params=["VIS", "NIR"])
def quiet(request):
    """A flawless detector that only reads with noise."""
    effects = Effects.from_mapping({**Effects.none().as_dict(), "read_noise": 1.0, "photon_noise": 1.0})
    return detector_state(request.param, 1, effects), effects


def test_dark_frame_has_the_pedestal_and_the_read_noise(quiet):
    state, effects = quiet
    hardware = state.hardware
    raw, rays = expose(state, None, 0.0, generator(1, "x"), effects)
    assert raw.shape == hardware.raw_shape
    assert raw.dtype == np.uint16
    assert rays.max() == 0.0
    noise = np.hypot(hardware.read_noise / hardware.gain, np.sqrt(1.0 / 12.0))
    assert raw.mean() == pytest.approx(hardware.pedestal, abs=5 * noise / np.sqrt(raw.size))
    assert raw.std() == pytest.approx(noise, rel=2e-3)
    assert raw.min() > 0


def test_photon_noise_follows_the_light(quiet):
    """Mean and variance of the signal at several levels; a mutated gain would fail by 30 sigma."""
    state, effects = quiet
    hardware = state.hardware
    y0, y1, x0, x1 = hardware.window
    levels = np.array([20.0, 200.0, 5000.0, 60000.0])
    light = np.repeat(levels, hardware.shape[0] // 4)[:, None] * np.ones(hardware.shape[1])
    raw, _ = expose(state, light, 0.0, generator(2, "x"), effects)
    signal = (raw[y0:y1, x0:x1].astype(float) - hardware.pedestal) * hardware.gain
    for level in levels:
        pixels = signal[light[:, 0] == level]
        variance = level + hardware.read_noise**2 + hardware.gain**2 / 12.0
        assert pixels.mean() == pytest.approx(level, abs=5 * np.sqrt(variance / pixels.size))
        assert pixels.var() == pytest.approx(variance, rel=5 * np.sqrt(2.0 / pixels.size))


def test_equal_seeds_give_equal_frames_and_others_do_not(quiet):
    state, effects = quiet
    first, _ = expose(state, None, 10.0, generator(1, "a"), effects)
    again, _ = expose(state, None, 10.0, generator(1, "a"), effects)
    other, _ = expose(state, None, 10.0, generator(1, "b"), effects)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_bright_deviates_keep_the_moments_of_poisson():
    drawn = poisson(np.full(400000, 60.0, np.float32), generator(1, "p")).astype(float)
    assert drawn.mean() == pytest.approx(60.0, abs=5 * np.sqrt(60.0 / drawn.size))
    assert drawn.var() == pytest.approx(60.0, rel=0.012)
    skew = ((drawn - drawn.mean()) ** 3).mean() / drawn.std() ** 3
    assert skew == pytest.approx(60.0**-0.5, abs=0.03)


@pytest.mark.parametrize("arm", ["VIS", "NIR"])
def test_flaws_are_there_and_switch_off(arm):
    state = detector_state(arm, 1, Effects())
    clean = detector_state(arm, 1, Effects.none())
    good = ~state.dead
    assert state.response[good].std() == pytest.approx(0.01, rel=0.02)
    assert 30 < state.dead.sum() < 5000
    assert state.hot.sum() > 50
    assert state.response[state.dead].max() < 0.4
    assert clean.response.min() == clean.response.max() == 1.0
    assert not clean.dead.any()
    assert not clean.hot.any()
    assert clean.dark.max() == 0.0


def test_switching_one_effect_leaves_the_draws_of_others_alone():
    one = detector_state("VIS", 4, Effects())
    two = detector_state("VIS", 4, Effects.from_mapping({"dead_pixels": 0.0, "fringing": 0.0}))
    np.testing.assert_array_equal(one.dark, two.dark)
    np.testing.assert_array_equal(one.bias, two.bias)
    np.testing.assert_array_equal(one.response[~one.dead], two.response[~one.dead])


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_all_effects_can_be_off_and_doubled(strength):
    """Even those without which no instrument is: frames are made without complaint."""
    effects = Effects(**{field.name: strength for field in dataclasses.fields(Effects)})
    frame = simulate_frame("science", "VIS", seed=2, effects=effects)
    assert frame.data.shape == (4096, 908)
    assert np.isfinite(frame.truth.electrons).all()
    assert (frame.truth.cosmic_rays.max() > 0) == (strength > 0)


@pytest.mark.parametrize("binning", [(2, 2), (1, 2), (2, 1)])
def test_binning_adds_pixels_and_reads_them_once(binning):
    plain = simulate_frame("slit_flat", "VIS", seed=2, effects=Effects.none(), lamp_scale=0.1)
    frame = simulate_frame("slit_flat", "VIS", seed=2, effects=Effects.none(), lamp_scale=0.1, binning=binning)
    by, bx = binning
    assert frame.data.shape == (4096 // by, 908 // bx)
    header = frame.header
    assert (header["ESO DET BINY"], header["ESO DET BINX"]) == binning
    assert header["ESO DET OUT1 PRSCX"] + header["ESO DET OUT1 NX"] + header["ESO DET OUT1 OVSCX"] == 908 // bx
    light = (frame.data[:, 50 // bx : 858 // bx].astype(float) - 500.0) * 2.0
    expected = binned((plain.data[:, 50:858].astype(float) - 500.0) * 2.0, binning)
    assert expected.max() > 8000.0
    np.testing.assert_allclose(light, expected, atol=2.0 * by * bx)


def test_infrared_frames_are_not_binned():
    with pytest.raises(InputError, match="read unbinned"):
        simulate_frame("dark", "NIR", binning=(2, 2))


def test_saturation_and_nonlinearity():
    effects = Effects.from_mapping({**Effects.none().as_dict(), "nonlinearity": 1.0})
    state = detector_state("NIR", 1, effects)
    hardware = state.hardware
    light = np.full(hardware.shape, 0.5 * hardware.linear_limit)
    light[:10] = 1.1 * hardware.linear_limit
    light[-10:] = 10.0 * hardware.full_well
    raw, _ = expose(state, light, 0.0, generator(1, "s"), effects)
    signal = (raw[4:2044, 4:2044].astype(float) - hardware.pedestal) * hardware.gain
    assert signal[500, 500] == pytest.approx(0.5 * hardware.linear_limit, abs=hardware.gain)
    assert 0.98 < signal[5, 500] / light[5, 500] < 0.9995
    assert signal[-5, 500] == pytest.approx(hardware.full_well, abs=hardware.gain)
    state_linear = detector_state("VIS", 1, Effects.none())
    raw, _ = expose(
        state_linear, np.full(state_linear.hardware.shape, 1e9), 0.0, generator(1, "s"), Effects.none()
    )
    assert raw.max() <= 65535


def test_cosmic_rays_are_tracks_in_proportion_to_time():
    hardware = ARMS["VIS"]
    short = cosmic_rays(hardware, 100.0, generator(1, "c"), Effects())
    long = cosmic_rays(hardware, 1000.0, generator(1, "c"), Effects())
    assert cosmic_rays(hardware, 1000.0, generator(1, "c"), Effects.none()).max() == 0.0
    assert 3 < (long > 0).sum() / max((short > 0).sum(), 1) < 30
    assert np.median(long[long > 0]) > 100.0


def test_persistence_follows_a_bright_frame():
    effects = Effects.from_mapping({**Effects.none().as_dict(), "persistence": 1.0})
    state = detector_state("NIR", 1, effects)
    bright = np.zeros(state.hardware.shape)
    bright[100:200] = 1e5
    after, _ = expose(state, None, 300.0, generator(1, "q"), effects, previous=bright)
    window = after[4:2044, 4:2044].astype(float)
    assert window[100:200].mean() - window[300:400].mean() > 1.0
    without, _ = expose(state, None, 300.0, generator(1, "q"), Effects.none(), previous=bright)
    assert without[4:2044, 4:2044].std() == 0.0


def test_scattered_light_is_smooth_and_a_few_percent():
    light = np.zeros((800, 600))
    light[:, 250:300] = 1e4
    scattered = scattered_light(light, Effects())
    assert 0.005 < scattered.sum() / light.sum() < 0.03
    assert np.abs(np.diff(scattered, axis=1)).max() < 0.02 * scattered.max()


def test_effects_refuse_nonsense():
    with pytest.raises(InputError, match=r"no effect 'fringes'.*fringing"):
        Effects.from_mapping({"fringes": 1.0})
    with pytest.raises(InputError, match="dark is -1"):
        Effects(dark=-1.0)
    with pytest.raises(InputError, match="dark is nan"):
        Effects(dark=float("nan"))
