"""Sky model and calibrations of a 2-D product are found by themselves."""

import pytest
from astropy.io import fits

from soxs_recipes.cli.companions import with_companions
from soxs_recipes.eso.sof import SofEntry, write_sof
from soxs_recipes.recipes.extract import Extract
from soxs_recipes.recipes.stare import Stare

JOB = "2026-03-01/science/VIS_SN_SLIT1.0"


@pytest.fixture
def workspace(tmp_path):
    """A product with its sky model, and the set of frames that made it."""
    folder = tmp_path / "products" / JOB
    calibrations = tmp_path / "products" / "2026-03-01" / "flat"
    for place in (folder, calibrations):
        place.mkdir(parents=True)
    paths = {}
    for tag, place in (
        ("SCI_SLIT_SKYSUB_VIS", folder),
        ("SCI_SLIT_SKYMODEL_VIS", folder),
        ("SCI_SLIT_TRACE_VIS", folder),
        ("MASTER_FLAT_VIS", calibrations),
        ("MASTER_BIAS_VIS", calibrations),
        ("DISP_TAB_2D_VIS", calibrations),
    ):
        header = fits.Header({"INSTRUME": "SOXS", "HIERARCH ESO PRO CATG": tag})
        paths[tag] = place / f"20260302T020250_VIS_{tag.removesuffix('_VIS')}.fits"
        fits.PrimaryHDU(header=header).writeto(paths[tag])
    entries = [SofEntry(paths[tag], tag) for tag in ("MASTER_FLAT_VIS", "MASTER_BIAS_VIS", "DISP_TAB_2D_VIS")]
    entries.append(SofEntry(tmp_path / "gone.fits", "RESP_TAB_VIS"))
    sof = tmp_path / "sof" / f"{JOB}.sof"
    sof.parent.mkdir(parents=True)
    write_sof(sof, entries)
    return paths


def test_what_belongs_to_a_product_is_found(workspace):
    frames, added = with_companions(Extract.declaration, [(str(workspace["SCI_SLIT_SKYSUB_VIS"]), "")])
    assert len(frames) == 4
    assert {tag for _, tag in frames[1:]} == {"SCI_SLIT_SKYMODEL_VIS", "MASTER_FLAT_VIS", "DISP_TAB_2D_VIS"}
    assert len(added) == 3


def test_what_is_given_is_preferred(workspace, tmp_path):
    mine = tmp_path / "mine.fits"
    workspace["MASTER_FLAT_VIS"].rename(mine)
    given = [(str(workspace["SCI_SLIT_SKYSUB_VIS"]), "SCI_SLIT_SKYSUB_VIS"), (str(mine), "")]
    frames, _ = with_companions(Extract.declaration, given)
    assert [tag for path, tag in frames if path == str(mine)] == [""]
    assert {tag for _, tag in frames[2:]} == {"SCI_SLIT_SKYMODEL_VIS", "DISP_TAB_2D_VIS"}


def test_recipes_on_raw_frames_and_lone_products_are_left_alone(workspace, tmp_path):
    lone = tmp_path / "elsewhere.fits"
    workspace["SCI_SLIT_SKYSUB_VIS"].rename(lone)
    for declaration, frames in (
        (Stare.declaration, [(str(workspace["MASTER_FLAT_VIS"]), "")]),
        (Extract.declaration, [(str(lone), "")]),
    ):
        assert with_companions(declaration, frames) == (frames, [])
