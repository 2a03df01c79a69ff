from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes import fits_files
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.mbias import MasterBias
from soxs_recipes.recipes.mdark import MasterDark


def run(recipe, paths, folder, **parameters):
    return run_recipe(recipe, paths, parameters, folder)


def product(result, tag):
    found = [entry for entry in result.products if entry.tag == tag]
    assert len(found) == 1, result.message
    return found[0]


def qc(entry):
    return {parameter.name: parameter.value for parameter in entry.qc}


@pytest.fixture(scope="module")
def bias_run(biases, tmp_path_factory):
    return run(MasterBias, biases, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def dark_run(darks, tmp_path_factory):
    return run(MasterDark, darks, tmp_path_factory.mktemp("out"))


def assert_pulls(frame, truth):
    found = ((frame.data - truth) / np.sqrt(frame.variance))[frame.quality == 0]
    assert found.size > 1e6
    assert abs(found.mean()) < 0.05
    assert found.std() == pytest.approx(1.0, abs=0.05)


def test_bias_is_true(bias_run, vis):
    assert bias_run.status == "COMPLETE", bias_run.message
    entry = product(bias_run, "MASTER_BIAS_VIS")
    frame = fits_files.read_frame(entry.path)
    assert_pulls(frame, vis.truth)
    values = qc(entry)
    assert values["RAW RON"] == pytest.approx(np.hypot(3.8, 2 / np.sqrt(12)), rel=0.01)
    assert values["RAW RON AMP1"] == pytest.approx(values["RAW RON"], rel=0.01)
    assert values["NOISE COST"] < 1.5
    assert values["MBIAS MEDIAN"] == pytest.approx(1000.0, abs=4.0)
    assert values["BADPIX FRAC"] <= 1e-5
    assert values["DETECTOR TEMP"] == 153.0
    assert frame.meta.combined == 5
    assert frame.meta.read_noise == pytest.approx(3.8, rel=0.01)


def test_read_noise_of_each_bias_is_kept(bias_run, biases):
    path = product(bias_run, "MASTER_BIAS_VIS").path
    levels = fits_files.read_table(path, "LEVELS")
    assert levels["FRAME"].tolist() == [bias.name for bias in biases]
    assert levels["READ_NOISE"] == pytest.approx([3.84] * 5, rel=0.01)
    header = fits.getheader(path, "LEVELS")
    assert header["OVERSCAN"] is True
    assert header["BIASLEVL"] == pytest.approx(1000.0, abs=3.0)


def test_bad_pixel_map_of_biases_is_clean(bias_run):
    entry = product(bias_run, "BP_MAP_RP_VIS")
    assert np.count_nonzero(fits_files.read_quality(entry.path)) <= 1e-5 * 4096 * 808


def test_dark_is_true_and_hot_pixels_are_found(dark_run, nir, dark_charge):
    assert dark_run.status == "COMPLETE", dark_run.message
    entry = product(dark_run, "MASTER_DARK_NIR")
    frame = fits_files.read_frame(entry.path)
    assert_pulls(frame, nir.truth + dark_charge)
    hot = dark_charge > 50
    found = (fits_files.read_quality(product(dark_run, "BP_MAP_RP_NIR").path) & int(QualityFlag.HOT)) != 0
    assert hot.sum() > 3000
    assert found[hot].mean() > 0.99
    assert np.count_nonzero(found & ~hot) <= 1e-5 * found.size
    values = qc(entry)
    assert values["HOTPIX NUM"] == pytest.approx(hot.sum(), rel=0.01)
    assert values["RAW RON"] == pytest.approx(np.sqrt(7.3**2 + 2.3**2 / 12 + 1.5), rel=0.01)
    assert frame.meta.exposure_time == 300.0


def test_same_input_gives_same_data(bias_run, biases, tmp_path):
    again = run(MasterBias, biases, tmp_path)
    for tag in ("MASTER_BIAS_VIS", "BP_MAP_RP_VIS"):
        first, second = product(bias_run, tag).path, product(again, tag).path
        assert fits.getheader(first)["DATAMD5"] == fits.getheader(second)["DATAMD5"]


def test_without_denoising_the_noise_stays(biases, vis, tmp_path):
    entry = product(run(MasterBias, biases[:3], tmp_path, denoise=False), "MASTER_BIAS_VIS")
    assert_pulls(fits_files.read_frame(entry.path), vis.truth)
    assert qc(entry)["NOISE COST"] == pytest.approx(100 * (np.sqrt(4 / 3) - 1), rel=0.05)
    assert entry.status == "PARTIAL"


def test_damaged_frames_are_left_out_and_named(biases, vis, tmp_path):
    paths = [tmp_path / path.name for path in biases]
    for source, path in zip(biases, paths, strict=True):
        shutil.copy(source, path)
    vis.write(paths[1], np.zeros((4096, 908), np.uint16))
    paths[3].write_bytes(paths[3].read_bytes()[:3_000_000])
    result = run(MasterBias, paths, tmp_path / "out")
    assert result.status == "PARTIAL"
    assert any("bias1" in reason and "zero" in reason for reason in result.reasons)
    assert any("bias3" in reason and "truncated" in reason for reason in result.reasons)
    header = fits.getheader(product(result, "MASTER_BIAS_VIS").path)
    assert header["ESO PRO DATANCOM"] == 3


@pytest.mark.parametrize("value", [0, 100, 65535])
def test_nothing_usable_fails_by_name(vis, tmp_path, value):
    path = vis.write(tmp_path / "bad.fits", np.full((4096, 908), value, np.uint16))
    result = run(MasterBias, [path], tmp_path / "out")
    assert result.status == "FAILED"
    assert "bad" in result.message
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_mixed_exposure_times_are_refused(darks, nir, tmp_path):
    other = nir.write(tmp_path / "odd.fits", nir.adu(9), "DARK", 60.0)
    result = run(MasterDark, [*darks[:2], other], tmp_path / "out")
    assert result.status == "FAILED"
    assert "odd.fits" in result.message
    assert "exptime" in result.message.lower()
