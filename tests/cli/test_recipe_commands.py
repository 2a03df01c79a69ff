import json
from dataclasses import replace

import pytest
from astropy.io import fits
from count_frames import BIAS, CountFrames, bias
from fake_night import MJD0, cards_of, write_frame

from soxs_recipes.cli import recipe_commands
from soxs_recipes.data.qc import QCDefinition
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework import registry

pytestmark = pytest.mark.usefixtures("count_recipe")


def only_product(folder):
    (path,) = folder.glob("*_FRAME_COUNT.fits")
    with fits.open(path) as hdus:
        return path, int(hdus["DATA"].data[0, 0]), hdus["DATA"].header["LEVEL"], hdus["DATA"].header["DEGREES"]


def test_frames_a_folder_and_a_sof_are_the_same(soxs, night, biases, tmp_path):
    sof = tmp_path / "some frames.sof"
    sof.write_text("# comment\n" + "".join(f"raw/{path.name} BIAS_VIS\n" for path in biases))
    for name, words in (("frames", biases), ("folder", [night.folder]), ("sof", [sof]), ("twice", [sof, *biases])):
        out = tmp_path / name
        code, text, err = soxs("count", *words, "-o", out, "--no-plots")
        assert (code, err) == (0, "")
        assert "soxs_count: COMPLETE" in text
        assert "QC FRAME NUM               3" in text
        path, number, level, _ = only_product(out)
        assert (path.name, number, level) == ("20251121T000100_VIS_FRAME_COUNT.fits", 3, 3.0)


def test_the_first_recipe_on_a_machine_says_why_it_takes_long(soxs, biases, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe_commands, "is_machine_code_kept", lambda: False)
    out = tmp_path / "out"
    assert "the first run on this machine compiles loops" in soxs("count", *biases, "-o", out, "--no-plots")[2]
    assert soxs("count", *biases, "-o", out, "--no-plots", "-x", "-q") == (0, "", "")


def test_of_a_folder_only_what_is_of_use_is_taken(soxs, night, biases, tmp_path):
    night.science("VIS")
    night.calibrations("NIR")
    code, _, err = soxs("count", night.folder, "-o", tmp_path / "out", "--no-plots")
    assert (code, err) == (0, "")
    assert only_product(tmp_path / "out")[1] == len(biases)
    for path in biases:
        path.unlink()
    code, _, err = soxs("count", night.folder, "-o", tmp_path / "out", "--no-plots")
    assert code == 20
    assert "none of BIAS_<ARM> among the frames" in err


def test_other_names_of_a_recipe(soxs, biases, tmp_path):
    for number, word in enumerate(("count", "count_all", "count-all", "soxs_count")):
        assert soxs(word, *biases, "-o", tmp_path / str(number), "--no-plots", "-q") == (0, "", "")


def test_parameters_come_from_options_settings_and_poly(soxs, biases, tmp_path):
    settings = tmp_path / "s.yaml"
    settings.write_text("soxs_count:\n  level: 4.0\n  VIS:\n    order-deg: 2,2\n")
    soxs("count", *biases, "-o", tmp_path, "--no-plots", "-s", settings)
    assert only_product(tmp_path)[2:] == (4.0, "2,2")
    soxs("count", *biases, "-o", tmp_path, "--no-plots", "-s", settings, "-x", "--level", "5", "--poly", "1166")
    assert only_product(tmp_path)[2:] == (5.0, "1,1")


def test_products_are_not_made_twice_unless_asked(soxs, biases, tmp_path):
    where = (*biases, "-o", tmp_path, "--no-plots")
    soxs("count", *where)
    before = only_product(tmp_path)[0].stat().st_mtime_ns
    code, text, _ = soxs("count", *where)
    assert code == 0
    assert text.startswith("there already: ")
    code, _, err = soxs("count", *where, "--level", "2")
    assert code == 20
    assert "made of the same frames by another recipe or with other parameters; -x replaces it" in err
    code, _, err = soxs("count", *biases[:2], "-o", tmp_path, "--no-plots")
    assert code == 20
    assert "is there already, of other frames; -x replaces it" in err
    assert only_product(tmp_path)[0].stat().st_mtime_ns == before
    assert soxs("count", *where, "--level", "2", "-x")[0] == 0
    assert only_product(tmp_path)[2] == 2.0


def test_the_key_is_that_of_the_last_recipe(tmp_path):
    """A product keeps the records of those that it was made from, before its own."""
    keys = {f"ESO PRO REC{number} CALL KEY": f"key {number}" for number in (1, 2, 10, 3)}
    path = write_frame(tmp_path / "product.fits", cards_of("VIS", BIAS, mjd=MJD0) | keys)
    assert recipe_commands._key_of(path) == "key 10"
    assert recipe_commands._key_of(write_frame(path, cards_of("VIS", BIAS, mjd=MJD0))) == ""


def test_json(soxs, biases, tmp_path):
    code, text, _ = soxs("count", *biases, "-o", tmp_path, "--no-plots", "--json")
    document = json.loads(text)
    assert (code, document["status"], document["recipe"]) == (0, "COMPLETE", "soxs_count")
    assert document["products"][0]["qc"] == {"ESO QC FRAME NUM": 3}
    assert document["command"].startswith("soxs count ")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--level", "99"], 20, "parameter level = 99: must be from 1 to 9"),
        (["--level", "lots"], 20, "parameter level = lots: must be a number"),
        (["--smooth", "perhaps"], 20, "must be true or false"),
        (["--poly", "12x4"], 20, "write degrees as digits"),
        (["--poly", "123"], 20, "one or two degrees for each of order-deg, wavelength-deg"),
        (["--level", "9"], 23, "the fit went nowhere (points = 3)"),
        (["-s", "nowhere.yaml"], 20, "nowhere.yaml: there is no such settings file"),
    ],
)
def test_errors_are_one_line_with_their_code(soxs, biases, tmp_path, words, code, message):
    found, text, err = soxs("count", *biases, "-o", tmp_path / "out", "--no-plots", *words)
    assert (found, text) == (code, "")
    assert message in err
    assert err.startswith("soxs: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("out/*.fits"))


def test_mixed_setups_are_refused_and_the_odd_frame_named(soxs, night, biases, tmp_path):
    binned = {"ESO DET BINX": 2, "ESO DET BINY": 2, "NAXIS1": 454, "NAXIS2": 2048}
    odd = bias(night.folder, 4, **binned)
    code, _, err = soxs("count", *biases, odd, "-o", tmp_path)
    assert code == 20
    assert "bias4.fits" in err
    other = write_frame(night.folder / "nir.fits", cards_of("NIR", BIAS, mjd=MJD0))
    code, _, err = soxs("count", *biases, other, "-o", tmp_path)
    assert code in (0, 20)
    assert "nir.fits" in err


def test_what_is_not_there_is_named(soxs, tmp_path):
    for words, part in (((tmp_path / "no.fits",), "no such file"), ((tmp_path,), "holds no FITS files")):
        code, _, err = soxs("count", *words)
        assert code == 20
        assert part in err


def test_an_output_folder_that_cannot_be_is_named(soxs, biases, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = soxs("count", *biases, "-o", tmp_path / "file" / "out")
    assert code == 20
    assert "file" in err


def test_reduce_sof_finds_the_recipe(soxs, biases, tmp_path, monkeypatch):
    from soxs_recipes.cascade import night as cascade_night

    monkeypatch.setattr(cascade_night, "recipe_declarations", lambda: {"soxs_count": CountFrames.declaration})
    monkeypatch.chdir(tmp_path)
    sof = tmp_path / "frames.sof"
    sof.write_text("".join(f"{path}\n" for path in biases))
    code, text, _ = soxs("reduce", "sof", sof, "--no-plots")
    assert code == 0
    assert "soxs_count: COMPLETE" in text
    sof.write_text("".join(f"{path} LUNCH\n" for path in biases))
    code, _, err = soxs("reduce", "sof", sof)
    assert code == 20
    assert "no recipe is for its frames (LUNCH)" in err


def test_help_tells_all(soxs):
    code, text, _ = soxs("count", "--help")
    assert code == 0
    parts = [
        *("Count frames.", "--level FLOAT", "Where values are clipped [sigma] (from 1 to 9).", "[default: 3.0]"),
        *("BIAS_<ARM>", "MASTER_BIAS_<ARM>", "FRAME_COUNT_<ARM>", "QC FRAME NUM", "--poly", "-x, --overwrite"),
    ]
    assert [part for part in parts if part not in text] == []


def test_man_shows_the_manual(soxs):
    code, text, _ = soxs("man", "count")
    assert code == 0
    assert "SOXS_COUNT" in text
    code, _, err = soxs("man", "mflt")
    assert code == 20
    assert "did you mean mflat?" in err


def test_recipes_are_listed(soxs, monkeypatch):
    monkeypatch.setattr(registry, "RECIPES", {"soxs_count": registry.RECIPES["soxs_count"]})
    assert "soxs_count\tcount, count_all\tCount frames." in soxs("recipes")[1]
    assert json.loads(soxs("recipes", "--json")[1])["recipes"][0]["commands"] == ["count", "count_all"]


def test_settings_are_written_once(soxs, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "RECIPES", {"soxs_count": registry.RECIPES["soxs_count"]})
    path = tmp_path / "soxs.yaml"
    assert soxs("settings", path)[0] == 0
    assert "level: 3.0" in path.read_text()
    code, _, err = soxs("settings", path)
    assert (code, "-x replaces it" in err) == (20, True)
    assert soxs("settings", path, "-x")[0] == 0
    assert soxs("settings")[1] == path.read_text()


def test_degrees():
    declaration = CountFrames.declaration
    assert recipe_commands.degrees_from(declaration, "34") == {"order-deg": "3", "wavelength-deg": "4"}
    assert recipe_commands.degrees_from(declaration, "3,4,10,5") == {"order-deg": "3,4", "wavelength-deg": "10,5"}
    with pytest.raises(InputError):
        recipe_commands.degrees_from(declaration, "")


def test_quality_is_told_once_with_units_and_again_where_it_differs(capsys):
    ranges = (QCDefinition("SEEING", "arcsec", "Width.", (0.2, 2.0)), QCDefinition("RON", "e-", "Noise."))
    declaration = replace(CountFrames.declaration, qc=ranges)
    first = {"ESO QC SEEING": 2.5, "ESO QC RON AMP1": 3.0, "ESO QC ORD3 SEEING": 1.0}
    products = [{"tag": "A_VIS", "qc": first}, {"tag": "B_VIS", "qc": first | {"ESO QC RON AMP1": 4.0}}]
    recipe_commands._tell_quality(declaration, products)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["QC", "SEEING", "2.5", "arcsec", "(acceptable:", "0.2", "to", "2)"],
        ["QC", "RON", "AMP1", "3", "e-"],
        ["QC", "RON", "AMP1", "4", "e-", "(B_VIS)"],
    ]
