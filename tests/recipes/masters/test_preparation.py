from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes import fits_files
from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.errors import InputError
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.preparation import prepare_detailed, prepare_frame
from soxs_recipes.recipes.mdark import MasterDark

NY, NX = 256, 100


@pytest.fixture(scope="module")
def arm():
    """The UV-VIS arm with a detector small enough for quick tests."""
    full = load_instrument().arm("VIS")
    detector = dataclasses.replace(
        full.detector,
        raw_shape=(NY, NX + 60),
        science_window=(0, NY, 30, 30 + NX),
        prescan=(0, 30),
        overscan=(30 + NX, NX + 60),
    )
    return dataclasses.replace(full, detector=detector)


@pytest.fixture
def small(tmp_path, vis):
    """Write a small frame; signal in electrons inside the window."""

    def write(signal=0.0, gain=2.0, shape=(NY, NX + 60), name="frame.fits", seed=1, window=None, **changes):
        random = np.random.default_rng(seed)
        values = 1000.0 + random.normal(0, 3.8, shape)
        y, x = window or (slice(None), slice(30, 30 + NX))
        values[y, x] += random.poisson(signal, values[y, x].shape)
        data = np.rint(values / gain).astype(np.uint16)
        return vis.write(tmp_path / name, data, "OBJECT", 60.0, **changes)

    return write


def master(value=0.0, variance=0.5, shape=(NY, NX), time=60.0, read_noise=3.8):
    meta = FrameMeta("master", time, gain=2.0, read_noise=read_noise)
    data = np.full(shape, value, np.float32)
    return Frame(data, np.full(shape, variance, np.float32), np.zeros(shape, np.int32), meta)


def test_header_values_reach_the_frame(small, arm):
    prepared = prepare_detailed(small(200.0), arm)
    meta = prepared.frame.meta
    assert (meta.exposure_time, meta.gain, meta.binning, meta.name) == (60.0, 2.0, (1, 1), "frame")
    assert meta.airmass == pytest.approx(1.3)
    assert meta.mjd_end - meta.mjd_start == pytest.approx(60 / 86400, abs=1e-8)
    assert meta.read_noise == pytest.approx(3.8, rel=0.05)
    assert prepared.frame.shape == (NY, NX)
    assert prepared.frame.data.mean() == pytest.approx(200.0, abs=1.0)
    assert prepared.notes == ()
    pulls = (prepared.frame.data - 200.0) / np.sqrt(prepared.frame.variance)
    assert pulls.std() == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("conad", "gain", "expected", "word"),
    [
        (2.0, 0.5, 2.0, ""),
        (0.5, 2.0, 2.0, "swapped"),
        (2.0, None, 2.0, ""),
        (None, 0.5, 2.0, ""),
        (None, 2.0, 2.0, "swapped"),
        (None, None, 2.0, "neither CONAD nor GAIN"),
        (9.0, 9.0, 9.0, "no reading"),
    ],
)
def test_gain_is_what_the_noise_supports(small, arm, conad, gain, expected, word):
    path = small(200.0, ESO__DET__OUT1__CONAD=conad, ESO__DET__OUT1__GAIN=gain, ESO__DET__CHIP__RON=3.8)
    prepared = prepare_detailed(path, arm)
    assert prepared.frame.meta.gain == pytest.approx(expected)
    assert (word in " ".join(prepared.notes)) if word else prepared.notes == ()


def test_slow_read_mode_is_not_misread(small, arm):
    path = small(200.0, gain=0.6, ESO__DET__OUT1__CONAD=0.6, ESO__DET__OUT1__GAIN=1 / 0.6)
    assert prepare_detailed(path, arm).frame.meta.gain == 0.6


def test_read_noise_that_contradicts_the_overscan_is_said(small, arm):
    prepared = prepare_detailed(small(ESO__DET__CHIP__RON=5.3), arm)
    assert prepared.frame.meta.read_noise == 5.3
    assert "read noise measured" in " ".join(prepared.notes)
    prepared = prepare_detailed(small(ESO__DET__CHIP__RON=None), arm)
    assert prepared.frame.meta.read_noise == pytest.approx(3.8, rel=0.03)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"ESO__DET__OUT1__CONAD": 0.0}, "CONAD"),
        ({"ESO__DET__OUT1__CONAD": -2.0}, "CONAD"),
        ({"ESO__DET__OUT1__GAIN": "x"}, "GAIN"),
        ({"ESO__DET__CHIP__RON": 0.0}, "READ_NOISE"),
        ({"EXPTIME": -1.0}, "EXPTIME"),
        ({"EXPTIME": "NaN"}, "EXPTIME"),
        ({"ESO__DET__BINX": 0}, "BINNING_X"),
        ({"ESO__DET__BINX": 2}, "readout"),
    ],
)
def test_values_without_sense_are_refused_by_name(small, arm, changes, word):
    with pytest.raises(InputError, match=rf"frame\.fits: .*{word}"):
        prepare_frame(small(**changes), arm)


def test_shape_of_another_detector_is_refused(small, arm):
    with pytest.raises(InputError, match=r"frame\.fits.*100 x 90"):
        prepare_frame(small(shape=(90, 100), window=(slice(None), slice(None))), arm)


def test_wider_overscan_and_trimmed_frames_are_read(small, arm):
    wide = prepare_detailed(small(200.0, shape=(NY, NX + 90)), arm)
    assert wide.frame.shape == (NY, NX)
    assert wide.frame.data.mean() == pytest.approx(200.0, abs=1.0)
    trimmed = prepare_detailed(small(200.0, shape=(NY, NX), window=(slice(None), slice(None))), arm)
    assert not trimmed.report.subtracted
    assert trimmed.frame.data.mean() == pytest.approx(1200.0, abs=2.0)


def test_stated_windows_come_first(small, arm):
    stated = {f"ESO__DET__OUT1__{key}": value for key, value in (("PRSCX", 10), ("NX", NX), ("OVSCX", 50))}
    path = small(200.0, window=(slice(None), slice(10, 10 + NX)), **stated)
    prepared = prepare_detailed(path, arm)
    assert prepared.frame.data.mean() == pytest.approx(200.0, abs=1.0)
    assert prepared.frame.data[:, 0].mean() == pytest.approx(200.0, abs=3.0)


def test_two_stated_outputs_mirror_each_other(small, arm, vis):
    stated = {
        f"ESO__DET__OUT{number}__{key}": value
        for number in (1, 2)
        for key, value in (("PRSCX", 10), ("NX", NX // 2), ("OVSCX", 20))
    }
    path = small(0.0, shape=(NY, NX + 60), window=(slice(None), slice(10, 60)), **stated)
    data = fits.getdata(path).astype(np.int32)
    data[:, 80:] += 100
    data[:, 10:60] += 50
    data[:, 100:150] += 150
    vis.write(path, data.astype(np.uint16), "OBJECT", 60.0, **stated)
    prepared = prepare_detailed(path, arm)
    assert prepared.frame.shape == (NY, NX)
    assert prepared.frame.data[:, :50].mean() == pytest.approx(100.0, abs=0.5)
    assert prepared.frame.data[:, 50:].mean() == pytest.approx(300.0, abs=0.5)
    assert len(prepared.report.noise) == 2


def test_binning_is_inferred_from_the_shape(small, arm):
    path = small(
        200.0,
        shape=(NY // 2, (NX + 60) // 2),
        window=(slice(None), slice(15, 15 + NX // 2)),
        ESO__DET__BINX=None,
        ESO__DET__BINY=None,
    )
    prepared = prepare_detailed(path, arm)
    assert prepared.frame.meta.binning == (2, 2)
    assert prepared.frame.shape == (NY // 2, NX // 2)
    assert prepared.frame.data.mean() == pytest.approx(200.0, abs=1.5)


def test_masters_are_subtracted_with_their_noise(small, arm):
    bias = master(7.0, 0.5)
    frame = prepare_frame(small(200.0), arm, master_bias=bias, flat=master(1.1, 1e-4))
    assert frame.data.mean() == pytest.approx(193.0 / 1.1, abs=1.0)
    expected = 0.5 / 1.21 + (193.0 / 1.1) ** 2 * 1e-4 / 1.21
    assert np.median(frame.shared_variance) == pytest.approx(expected, rel=0.05)


def test_master_of_another_size_is_refused_by_name(small, arm):
    with pytest.raises(InputError, match=r"frame\.fits.*do not fit"):
        prepare_frame(small(), arm, master_bias=master(shape=(NY, NX + 1)))


def test_level_inside_the_master_serves_frames_without_overscan(small, arm, tmp_path):
    from soxs_recipes.fits_files import image_hdus, table_hdu, write_product

    levels = table_hdu("LEVELS", {"LEVEL": np.array([1000.0])})
    levels.header["OVERSCAN"], levels.header["BIASLEVL"] = True, 1000.0
    path = write_product(tmp_path / "bias.fits", [*image_hdus(master(7.0)), levels])
    trimmed = small(200.0, shape=(NY, NX), window=(slice(None), slice(None)), name="trimmed.fits")
    prepared = prepare_detailed(trimmed, arm, master_bias=path)
    assert prepared.frame.data.mean() == pytest.approx(193.0, abs=1.5)
    assert "level of the master bias" in " ".join(prepared.notes)
    levels.header["OVERSCAN"] = False
    path = write_product(tmp_path / "raised.fits", [*image_hdus(master(1007.0)), levels])
    for name in ("frame.fits", "trimmed.fits"):
        source = small(200.0) if name == "frame.fits" else trimmed
        assert prepare_frame(source, arm, master_bias=path).data.mean() == pytest.approx(193.0, abs=1.5)


def test_dark_of_the_same_time_another_time_and_two_times(small, arm, caplog):
    path = small(200.0)
    same = prepare_detailed(path, arm, dark=master(30.0, time=60.3))
    assert same.frame.data.mean() == pytest.approx(170.0, abs=1.0)
    assert same.notes == ()
    scaled = prepare_detailed(path, arm, dark=master(30.0, time=120.0))
    assert scaled.frame.data.mean() == pytest.approx(185.0, abs=1.0)
    assert np.all(scaled.frame.quality & int(QualityFlag.SCALED_DARK))
    assert "scaled" in scaled.notes[0]
    with caplog.at_level(logging.WARNING):
        prepare_frame(path, arm, dark=master(30.0, time=120.0))
    assert "scaled" in caplog.text


def test_two_darks_are_interpolated(small, arm, tmp_path):
    paths = []
    for time, value in ((20.0, 12.0), (100.0, 52.0)):
        name = tmp_path / f"dark{time:g}.fits"
        paths.append(fits_files.write_product(name, fits_files.image_hdus(master(value, time=time))))
    prepared = prepare_detailed(small(200.0), arm, dark=paths)
    assert prepared.frame.data.mean() == pytest.approx(200.0 - 32.0, abs=1.0)
    assert not np.any(prepared.frame.quality & int(QualityFlag.SCALED_DARK))
    assert "interpolated" in prepared.notes[0]
    assert np.median(prepared.frame.shared_variance) == pytest.approx(0.5 * (0.25 + 0.25), rel=1e-3)


def test_bad_pixel_maps_fit_binned_frames(small, arm, tmp_path):
    quality = np.zeros((NY, NX), np.int32)
    quality[10, 21] = int(QualityFlag.DEAD)
    path = fits_files.write_product(tmp_path / "bp.fits", fits_files.quality_hdus(quality))
    assert prepare_frame(small(), arm, bad_pixels=path).quality[10, 21] == int(QualityFlag.DEAD)
    binned = small(shape=(NY // 2, (NX + 60) // 2), ESO__DET__BINX=2, ESO__DET__BINY=2)
    assert prepare_frame(binned, arm, bad_pixels=path).quality[5, 10] == int(QualityFlag.DEAD)
    with pytest.raises(InputError, match="bad-pixel map"):
        prepare_frame(small(), arm, bad_pixels=quality[:50])


def test_infrared_science_agrees_with_its_dark(nir, darks, dark_charge, tmp_path):
    """Reference pattern, read noise and hot pixels of the dark serve the frames that use it."""
    dark = run_recipe(MasterDark, darks, {}, tmp_path).products[0].path
    y = np.arange(2040.0)[:, None]
    light = 200.0 * np.exp(-((y - 1000.0) ** 2) / (2 * 300.0**2)) * np.ones(2040)
    path = nir.write(tmp_path / "science.fits", nir.adu(50, dark_charge + light), "OBJECT", 300.0)
    frame = prepare_frame(path, load_instrument().arm("NIR"), dark=dark)
    pulls = ((frame.data - light) / np.sqrt(frame.variance))[frame.quality == 0]
    assert pulls.size > 4e6
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1.0, abs=0.03)
    assert frame.meta.read_noise == pytest.approx(7.3, rel=0.01)
    assert np.median(frame.shared_variance) < 0.05 * 7.3**2
