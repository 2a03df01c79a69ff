import pytest

from soxs_recipes.errors import CalibrationMissing, InputError
from soxs_recipes.instrument import paths, static_calibration_folder, static_calibration_path


def test_the_folder_is_found_in_a_checkout():
    assert static_calibration_folder().is_dir()


def test_a_folder_inside_the_package_comes_first(tmp_path, monkeypatch):
    package = tmp_path / "soxs_recipes"
    for folder in (package / "static_calib", tmp_path / "static_calib"):
        folder.mkdir(parents=True)
    (package / "static_calib" / "TABLE.fits").touch()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert paths.static_calibration_path("TABLE") == package / "static_calib" / "TABLE.fits"
    assert paths.static_calibration_tags() == ("TABLE",)
    (package / "static_calib" / "TABLE.fits").unlink()
    (package / "static_calib").rmdir()
    assert paths.static_calibration_folder() == tmp_path / "static_calib"
    (tmp_path / "static_calib").rmdir()
    with pytest.raises(CalibrationMissing):
        paths.static_calibration_folder()


def test_an_unknown_tag_is_refused():
    with pytest.raises(CalibrationMissing, match="'NOT_A_TAG'"):
        static_calibration_path("NOT_A_TAG")


def test_the_workflow_is_shipped(tmp_path, monkeypatch):
    assert (paths.reflex_workflow_folder() / "soxs.oca").is_file()
    monkeypatch.setattr(paths, "_PACKAGE", tmp_path)
    with pytest.raises(InputError, match="install soxs-recipes again"):
        paths.reflex_workflow_folder()
