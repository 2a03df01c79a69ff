"""One standard star in three modes: its response is the same."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.fits_files import read_response
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.registry import recipe_class
from soxs_recipes.simulator import Effects, simulate_frame
from soxs_recipes.simulator.frames import standard
from soxs_recipes.simulator.headers import Offset

START = Time("2026-03-02T01:00:00.000", format="isot", scale="utc", precision=3)
MODES = {
    "soxs_stare": (Offset(),),
    "soxs_nod": (Offset("NOD", "A", 0.0, 2.5, throw=5.0), Offset("NOD", "B", 0.0, -2.5, throw=5.0)),
    "soxs_offset": (
        Offset("OFFSET", "O", fixed=(25.0, 15.0)),
        Offset("OFFSET", "S", 25.0, 15.0, fixed=(25.0, 15.0)),
    ),
}


def response(recipe, folder):
    """Of raw exposures without any calibration but those that the pipeline carries."""
    raws = []
    for number, offset in enumerate(MODES[recipe]):
        start = START + TimeDelta(80.0 * number, format="sec")
        data, header, _ = simulate_frame(
            "standard",
            "VIS",
            seed=3,
            exposure_time=60.0,
            binning=(2, 2),
            start=start,
            index=number,
            offset=offset,
            sources=() if offset.beam == "S" else (standard(slit_position=0.0).displaced(offset.y, 0.0),),
            target="LTT3218",
            effects=Effects(cosmic_rays=0),
        )
        raws.append(str(folder / f"SOXS.{start.isot}.fits"))
        fits.PrimaryHDU(data, header).writeto(raws[-1])
    run = run_recipe(recipe_class(recipe), raws, {}, str(folder / "spectra"))
    assert run.error is None, run.message
    (path,) = [product.path for product in run.products if product.tag == "FLUX_SLIT_ORDER1D_VIS"]
    done = run_recipe(
        recipe_class("soxs_response"), [(str(path), "FLUX_SLIT_ORDER1D_VIS")], {}, str(folder / "out")
    )
    assert done.error is None, done.message
    assert 0.0 < done.qc["ESO QC SLIT LOSS"] < 0.05
    return read_response(done.paths[0])


@pytest.fixture(scope="module")
def stared(tmp_path_factory):
    return response("soxs_stare", tmp_path_factory.mktemp("stare"))


@pytest.mark.parametrize("recipe", ["soxs_nod", "soxs_offset"])
def test_same_response(recipe, stared, tmp_path):
    other = response(recipe, tmp_path)
    bad = int(QualityFlag.EXTRAPOLATED | QualityFlag.TELLURIC)
    ratios = []
    for number in np.unique(stared.order):
        own, reference = other.order == number, stared.order == number
        at = stared.wavelength[reference]
        ratio = np.interp(at, other.wavelength[own], other.response[own]) / stared.response[reference]
        efficiency = stared.efficiency[reference]
        use = (stared.quality[reference] & bad == 0) & (efficiency > 0.3 * efficiency.max())
        ratios.append(np.median(ratio[use]))
    assert len(ratios) == 4
    np.testing.assert_allclose(ratios, 1.0, atol=0.01)
