"""What `pip install soxs-recipes` puts in place, without a checkout beside it."""

import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
# Folders that stand at the top of the checkout, and go into the package of an installation.
TOP_LEVEL = {"static_calib": "*.fits", "workflows": "*.*", "edps_workflow": "*.*"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory):
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(PROJECT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def _relative(folder, pattern):
    paths = (path for path in folder.rglob(pattern) if "__pycache__" not in path.parts)
    return {path.relative_to(PROJECT).as_posix() for path in paths if path.is_file()}


def test_holds_every_module_and_its_data(wheel_names):
    modules = _relative(PROJECT / "soxs_recipes", "*.py") | _relative(PROJECT / "soxs_recipes", "*.yaml")
    assert len(modules) > 250
    assert modules <= wheel_names


@pytest.mark.parametrize("folder", sorted(TOP_LEVEL))
def test_holds_what_lies_beside_the_package(wheel_names, folder):
    wanted = {f"soxs_recipes/{name}" for name in _relative(PROJECT / folder, TOP_LEVEL[folder])}
    assert len(wanted) >= 3
    assert wanted <= wheel_names


def test_claims_no_name_of_other_packages(wheel_names):
    top = {name.split("/")[0] for name in wheel_names}
    assert {name.split("-")[0] for name in top} == {"soxs_recipes"}
