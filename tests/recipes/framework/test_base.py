from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes import __version__
from soxs_recipes.errors import AlgorithmError, CalibrationMissing, InputError, Interrupted, UnprocessableData
from soxs_recipes.recipes.framework.base import run_recipe


def three(make_raw, **changes):
    return [
        make_raw(f"b{index}.fits", 100.0 + index, **{"MJD-OBS": 61074.2 + index / 1000, **changes})
        for index in range(3)
    ]


def test_complete_run(mean_frame, make_raw, tmp_path):
    frames = three(make_raw)
    result = run_recipe(mean_frame, frames, {"iterations": 5}, tmp_path / "out", cascade_key="abc123")
    assert (result.status, result.exit_code, result.reasons) == ("COMPLETE", 0, ())
    assert [product.tag for product in result.products] == ["MEAN_FRAME_VIS", "COUNT_TAB_VIS"]
    assert [path.name for path in result.paths] == [
        "20260203T040506_VIS_MEAN_FRAME_a-b-c.fits",
        "20260203T040506_VIS_COUNT_TAB.fits",
    ]
    assert result.qc == {"ESO QC MEAN LEVEL": 101.0, "ESO QC ORD13 ORDER LEVEL": 1.5}
    with fits.open(result.paths[0], checksum=True) as hdus:
        header = hdus[0].header
        assert np.array_equal(hdus[0].data, np.full((4, 5), 101.0, np.float32))
    assert header["ESO PRO CATG"] == "MEAN_FRAME_VIS"
    assert header["PIPEFILE"] == result.paths[0].name
    assert header["ESO PRO REC1 ID"] == "soxs_mean_frame"
    assert header["ESO PRO REC1 PIPE ID"] == f"soxs/{__version__}"
    assert header["ESO PRO REC1 ALGO VERSION"] == 7
    assert header["ESO PRO REC1 CALL KEY"] == "abc123"
    assert header["ESO PRO REC1 RAW2 NAME"] == "b1.fits"
    assert len(header["ESO PRO REC1 RAW2 DATAMD5"]) == 32
    assert header["ESO PRO REC1 RAW1 DATAMD5"] != header["ESO PRO REC1 RAW2 DATAMD5"]
    assert header["ESO PRO DATANCOM"] == 3
    assert header["ESO QC STATUS"] == "COMPLETE"
    assert header["ESO QC MEAN LEVEL"] == 101.0
    assert header["ESO QC ORD13 ORDER LEVEL"] == 1.5
    assert "ESO QC UNDEFINED" not in header
    assert header["NOTE1"] == "no bad-pixel map: no pixel is masked"
    assert "REASON1" not in header
    assert header["ESO TEL AIRM START"] == 1.2
    assert "ESO DPR CATG" not in header


def test_parameters_are_recorded_resolved(mean_frame, make_raw, tmp_path):
    result = run_recipe(mean_frame, three(make_raw), {"soxs.soxs_mean_frame.iterations": "7"}, tmp_path)
    header = fits.getheader(result.paths[0])
    recorded = {header[f"ESO PRO REC1 PARAM{i} NAME"]: header[f"ESO PRO REC1 PARAM{i} VALUE"] for i in range(1, 5)}
    assert recorded == {"frame-sigma": "4", "iterations": "7", "method": "mean", "keep": "false"}
    assert header.comments["ESO PRO REC1 PARAM1 VALUE"] == "Default: 'auto'"


def test_times_are_put_back(mean_frame, make_raw, tmp_path):
    frames = three(make_raw, EXPTIME=86.4)
    header = fits.getheader(run_recipe(mean_frame, frames, {}, tmp_path).paths[0])
    assert header["EXPTIME"] == pytest.approx(86.4)
    assert header["TEXPTIME"] == pytest.approx(259.2)
    assert header["MJD-OBS"] == pytest.approx(61074.2)
    assert header["MJD-END"] == pytest.approx(61074.202 + 0.001)


def test_out_of_range_makes_partial(mean_frame, make_raw, tmp_path):
    frames = [make_raw(f"b{index}.fits", 300.0) for index in range(3)]
    result = run_recipe(mean_frame, frames, {}, tmp_path)
    assert (result.status, result.exit_code) == ("PARTIAL", 0)
    assert result.reasons == ("QC MEAN LEVEL = 300 ADU is outside 0 .. 200",)
    header = fits.getheader(result.paths[0])
    assert header["ESO QC STATUS"] == "PARTIAL"
    assert header["REASON1"] == result.reasons[0]
    assert fits.getheader(result.paths[1])["ESO QC STATUS"] == "COMPLETE"


def test_fewer_than_recommended_is_partial(mean_frame, make_raw, tmp_path):
    result = run_recipe(mean_frame, three(make_raw)[:2], {}, tmp_path)
    assert result.status == "PARTIAL"
    assert result.reasons == ("only 2 BIAS_VIS frames, 3 recommended",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ESO SEQ ARM": "NIR", "ESO DPR TYPE": "DARK"}, ("odd.fits", "NIR", "one arm")),
        ({"ESO DET BINX": 2}, ("binning x: 3 with 1, but odd.fits has 2",)),
        ({"ESO DET READ CURID": 3}, ("read mode id: 3 with 1, but odd.fits has 3",)),
    ],
)
def test_mixed_setups_are_refused(mean_frame, make_raw, tmp_path, changes, words):
    odd = make_raw("odd.fits", **{"MJD-OBS": 61000.0, **changes})
    result = run_recipe(mean_frame, [odd, *three(make_raw)], {}, tmp_path / "out")
    assert (result.status, result.exit_code) == ("FAILED", InputError.exit_code)
    for word in words:
        assert word in result.message
    assert "\n" not in result.message
    assert not list(tmp_path.glob("out/*"))


def test_wrong_tag_for_the_arm(mean_frame, make_raw, tmp_path):
    first, second, third = three(make_raw)
    pairs = [(first, "BIAS_VIS"), (second, "BIAS_VIS"), (third, "BIAS_NIR")]
    result = run_recipe(mean_frame, pairs, {}, tmp_path)
    assert "b2.fits (BIAS_NIR) is of the NIR arm" in result.message


def test_too_few_frames(mean_frame, make_raw, tmp_path):
    result = run_recipe(mean_frame, three(make_raw)[:1], {}, tmp_path)
    assert result.message == "soxs_mean_frame needs at least 2 BIAS_VIS frames and got 1; add frames"


def test_nothing_of_use_names_the_file(mean_frame, make_raw, tmp_path):
    path = make_raw("flat.fits", **{"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,SLIT"})
    result = run_recipe(mean_frame, [path], {}, tmp_path)
    assert result.error_class == "InputError"
    assert "flat.fits" in result.message
    assert "needs frames BIAS or DARK" in result.message
    second = make_raw(
        "other.fits", **{"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,SLIT", "EXPTIME": 2.0}
    )
    message = run_recipe(mean_frame, [path, second], {}, tmp_path).message
    assert "flat.fits and 1 more: soxs_mean_frame has no use for FLAT_SLIT" in message
    assert message.count("has no use for") == 1


def test_missing_file_and_empty_set(mean_frame, tmp_path):
    assert "there is no such file" in run_recipe(mean_frame, [tmp_path / "no.fits"], {}, tmp_path).message
    assert "empty" in run_recipe(mean_frame, [], {}, tmp_path).message


def test_truncated_frame(mean_frame, make_raw, tmp_path):
    frames = three(make_raw)
    frames[1].write_bytes(frames[1].read_bytes()[:1000])
    result = run_recipe(mean_frame, frames, {}, tmp_path)
    assert result.exit_code == UnprocessableData.exit_code
    assert "b1.fits" in result.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"iteration": 3}, ("iteration", "did you mean iterations?")),
        ({"iterations": 11}, ("iterations = 11", "from 0 to 10")),
        ({"iterations": "many"}, ("whole number",)),
        ({"iterations": 2.5}, ("whole number",)),
        ({"method": "mode"}, ("one of mean, median",)),
        ({"keep": "perhaps"}, ("true or false",)),
        ({"frame-sigma": 0.5}, ("1 or more",)),
        ({"frame-sigma": "nan"}, ("1 or more",)),
    ],
)
def test_parameter_errors(mean_frame, make_raw, tmp_path, settings, words):
    result = run_recipe(mean_frame, three(make_raw), settings, tmp_path)
    assert result.exit_code == InputError.exit_code
    for word in words:
        assert word in result.message


def test_missing_calibration(mean_frame, make_raw, tmp_path):
    from dataclasses import replace

    entry = replace(mean_frame.declaration.calibrations[0], required=True, ladder="")

    class Strict(mean_frame):
        declaration = replace(mean_frame.declaration, calibrations=(entry,))

    result = run_recipe(Strict, three(make_raw), {}, tmp_path)
    assert result.exit_code == CalibrationMissing.exit_code
    assert "BP_MAP_RP_VIS" in result.message
    assert "run soxs_mdark first" in result.message


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (AlgorithmError("no lines", found=3), 23),
        (KeyboardInterrupt(), Interrupted.exit_code),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_failures_become_results(mean_frame, make_raw, tmp_path, raised, code):
    class Broken(mean_frame):
        def process(self, inputs, parameters, outputs):
            super().process(inputs, parameters, outputs)
            raise raised

    result = run_recipe(Broken, three(make_raw), {}, tmp_path / "out")
    assert (result.status, result.exit_code) == ("FAILED", code)
    assert result.message
    assert not list(tmp_path.glob("out/*"))


def test_two_products_of_one_name_are_refused(mean_frame, make_raw, tmp_path):
    class Twice(mean_frame):
        def process(self, inputs, parameters, outputs):
            outputs.add("COUNT_TAB", [fits.PrimaryHDU()])
            outputs.add("COUNT_TAB", [fits.PrimaryHDU()])

    result = run_recipe(Twice, three(make_raw), {}, tmp_path)
    assert "two products of one call" in result.message


def test_same_input_same_names_and_data(mean_frame, make_raw, tmp_path):
    frames = three(make_raw)
    results = [
        run_recipe(mean_frame, order, {}, tmp_path / str(i)) for i, order in enumerate((frames, frames[::-1]))
    ]
    assert [path.name for path in results[0].paths] == [path.name for path in results[1].paths]
    first, second = (fits.getheader(result.paths[0]) for result in results)
    assert first["DATAMD5"] == second["DATAMD5"]
    assert first["ESO PRO REC1 RAW1 NAME"] == second["ESO PRO REC1 RAW1 NAME"]


def test_python_warnings_go_to_the_log(mean_frame, make_raw, tmp_path, caplog):
    class Warning_(mean_frame):
        def process(self, inputs, parameters, outputs):
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.warn("watch out", UserWarning, stacklevel=1)

    before = warnings.showwarning
    run_recipe(Warning_, three(make_raw), {}, tmp_path)
    assert warnings.showwarning is before
    assert "UserWarning: watch out" in caplog.text


def test_numbers_have_the_digits_of_a_measurement(mean_frame, make_raw, tmp_path):
    frames = [make_raw(f"b{index}.fits", 100.0 + 1 / 3) for index in range(3)]
    header = fits.getheader(run_recipe(mean_frame, frames, {}, tmp_path).paths[0])
    assert header["ESO QC MEAN LEVEL"] == pytest.approx(100.0 + 1 / 3, rel=1e-6)
    assert len(str(header["ESO QC MEAN LEVEL"])) <= 10


def test_calibrations_without_a_checksum_get_one_in_the_record(mean_frame, make_raw, tmp_path):
    from soxs_recipes.eso.signing import data_md5

    calibration = make_raw("map.fits", 7.0, **{"ESO PRO CATG": "BP_MAP_RP_VIS"})
    signed = [make_raw(f"s{i}.fits", DATAMD5="ab" * 16) for i in range(3)]
    header = fits.getheader(run_recipe(mean_frame, [*signed, calibration], {}, tmp_path).paths[0])
    assert header["ESO PRO REC1 RAW1 DATAMD5"] == "ab" * 16
    assert header["ESO PRO REC1 CAL1 DATAMD5"] == data_md5(calibration)


@pytest.mark.parametrize(
    ("count", "text"), [(1, "b0.fits: no lines"), (3, "3 BIAS_VIS frames from 2026-02-03T04:05:06.789: no lines")]
)
def test_errors_of_algorithms_name_the_frames(mean_frame, make_raw, tmp_path, count, text):
    from dataclasses import replace

    raws = tuple(replace(entry, min_count=1) for entry in mean_frame.declaration.raws)

    class Broken(mean_frame):
        declaration = replace(mean_frame.declaration, raws=raws)

        def process(self, inputs, parameters, outputs):
            raise AlgorithmError("no lines", found=3)

    result = run_recipe(Broken, three(make_raw)[:count], {}, tmp_path)
    assert result.message == f"{text} (found = 3)"
    assert result.error.numbers == {"found": 3}


def test_errors_that_name_a_frame_stay(mean_frame, make_raw, tmp_path):
    class Broken(mean_frame):
        def process(self, inputs, parameters, outputs):
            raise UnprocessableData(f"{inputs.all_raw[1].name}: all zero")

    assert run_recipe(Broken, three(make_raw), {}, tmp_path).message == "b1.fits: all zero"


def test_a_frame_tagged_for_the_wrong_arm_is_told_by_its_header(mean_frame, make_raw, tmp_path):
    other = make_raw("nir.fits", **{"ESO SEQ ARM": "NIR", "ESO DPR TYPE": "DARK"})
    pairs = [*((path, "BIAS_VIS") for path in three(make_raw)), (other, "BIAS_VIS")]
    result = run_recipe(mean_frame, pairs, {}, tmp_path)
    assert "nir.fits (BIAS_VIS) is of the NIR arm" in result.message


def test_process_gets_typed_values(mean_frame, make_raw, tmp_path):
    seen = {}

    class Watching(mean_frame):
        def process(self, inputs, parameters, outputs):
            seen.update(parameters)

    run_recipe(Watching, three(make_raw), {"iterations": "7", "keep": "TRUE", "frame-sigma": "auto"}, tmp_path)
    assert seen == {"frame-sigma": 4.0, "iterations": 7, "method": "mean", "keep": True}
    assert [type(value) for value in seen.values()] == [float, int, str, bool]
