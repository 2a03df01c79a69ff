import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.data.wavelengths import air_to_vacuum
from soxs_recipes.instrument import static_calibration_path

NAMES = ["GD 71", "LTT 3218", "GD 153", "EG 274", "LTT 7987", "Feige 110", "EG 21"]
# erg/s/cm2/A at 550 and 1600 nm.
FLUXES = {
    "GD 71": (2.19e-14, 3.6e-16),
    "LTT 3218": (6.64e-14, 3.0e-15),
    "GD 153": (1.65e-14, 2.7e-16),
    "EG 274": (1.39e-13, 2.5e-15),
    "LTT 7987": (4.66e-14, 1.1e-15),
    "Feige 110": (6.80e-14, 1.1e-15),
    "EG 21": (9.98e-14, 2.2e-15),
}


@pytest.fixture(scope="module")
def catalogue():
    with fits.open(static_calibration_path("FLUX_STD_CATALOG")) as hdus:
        index = hdus["INDEX"].data.copy()
        spectra = {row["NAME"]: hdus[row["EXTENSION"]].data.copy() for row in index}
    return index, spectra


def test_seven_stars(catalogue):
    index, spectra = catalogue
    assert list(index["NAME"]) == NAMES
    assert len(spectra) == 7


@pytest.mark.parametrize("name", NAMES)
def test_spectra_cover_the_instrument_with_the_published_flux(catalogue, name):
    spectrum = catalogue[1][name]
    wavelength, flux = spectrum["WAVELENGTH"].astype(float), spectrum["FLUX"].astype(float)
    assert wavelength[0] < 345.0
    assert wavelength[-1] > 2060.0
    assert np.all(np.diff(wavelength) > 0)
    assert np.all(flux > 0)
    assert np.interp([550.0, 1600.0], wavelength, flux) == pytest.approx(FLUXES[name], rel=0.03)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("line", [486.135, 656.279])
def test_hydrogen_lines_are_at_rest_in_vacuum(catalogue, name, line):
    spectrum = catalogue[1][name]
    vacuum = float(air_to_vacuum(line))
    near = np.abs(spectrum["WAVELENGTH"] - vacuum) < 4.0
    x, y = spectrum["WAVELENGTH"][near] - vacuum, spectrum["FLUX"][near].astype(float)
    depth = 1.0 - y / np.interp(x, x[[0, -1]], y[[0, -1]])
    core = depth > 0.5 * depth.max()
    velocity = 3e5 * np.sum((x * depth)[core]) / depth[core].sum() / vacuum
    # Air and vacuum differ by 82 km/s.
    assert abs(velocity) < 25.0


def test_positions_and_motions(catalogue):
    index = {row["NAME"]: row for row in catalogue[0]}
    moving = index["LTT 3218"]
    assert np.hypot(moving["PM_RA"], moving["PM_DEC"]) == pytest.approx(1700.0, rel=0.03)
    assert "CD-32 5613" in moving["ALIASES"].split(";")
    # Positions in 2019 as measured by Gaia: EG 274, GD 153, LTT 7987.
    later = {
        "EG 274": (245.8915, -39.22956),
        "GD 153": (194.25942, 22.03022),
        "LTT 7987": (302.73479, -30.21983),
    }
    for name, (right_ascension, declination) in later.items():
        row = index[name]
        cosine = np.cos(np.radians(declination))
        moved_ra = row["RA"] + 19.0 * row["PM_RA"] / 3.6e6 / cosine
        moved_dec = row["DEC"] + 19.0 * row["PM_DEC"] / 3.6e6
        assert abs(moved_ra - right_ascension) * cosine * 3600 < 2.5, name
        assert abs(moved_dec - declination) * 3600 < 2.5, name
