"""soxs_straighten puts light where it belongs: spots at known wavelengths and slit positions of known optics."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.fits_files import image_hdus, read_rectified_images, write_product
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.straighten import Straighten
from soxs_recipes.simulator.optics import OpticalModel

SEED, PLACE = 4, 1.7  # arcsec
ALONG, ACROSS = 3.0, -2.0  # px by which the exposure was moved against its calibrations
SIGMA = 1.3  # px


def spots(arm, model):
    """A frame with a spot in each order, and the wavelengths of these."""
    y0, y1, x0, x1 = arm.detector.science_window
    image = np.zeros((y1 - y0, x1 - x0), np.float32)
    move = np.array([ACROSS, ALONG] if arm.dispersion_axis == 0 else [ALONG, ACROSS])
    wavelengths = {}
    for order in arm.orders:
        wavelengths[order.number] = 0.5 * (order.wavelength_min + order.wavelength_max)
        place = np.ravel(model.evaluate(order.number, np.array([wavelengths[order.number]]), np.array([PLACE])))
        x, y = place + move
        rows, columns = (slice(round(v) - 9, round(v) + 10) for v in (y, x))
        grid = np.mgrid[rows, columns]
        image[rows, columns] += 1e4 * np.exp(-0.5 * ((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / SIGMA**2)
    return image, wavelengths


def product(arm, image, path):
    """A sky-subtracted exposure that says by how much its solution was moved."""
    frame = Frame(image, image + 1.0, np.zeros(image.shape, np.int32), FrameMeta(name="a", exposure_time=600.0))
    header = fits.Header()
    cards = {"INSTRUME": "SOXS", "MJD-OBS": 61101.0, "EXPTIME": 600.0, "ESO SEQ ARM": arm.name}
    cards |= {"ESO PRO CATG": f"SCI_SLIT_SKYSUB_{arm.name}"}
    cards |= {"ESO QC ZP APPLIED": ALONG, "ESO QC EDGE APPLIED": ACROSS}
    for key, value in cards.items():
        header[f"HIERARCH {key}" if key.startswith("ESO") else key] = value
    return write_product(path, image_hdus(frame), header)


def places(arm, frames, folder, **parameters):
    """order -> (wavelength, slit position) of the spots as the straightened images have them."""
    result = run_recipe(Straighten, frames, parameters, str(folder))
    assert result.error is None, result.message
    (path,) = [item.path for item in result.products if item.tag == f"SCI_SLIT_ORDER2D_{arm.name}"]
    found = {}
    for image in read_rectified_images(path):
        light = np.where(image.flux > 1e-3 * image.flux.max(), image.flux, 0.0).astype(float)
        total = light.sum()
        found[image.order] = (light.sum(axis=0) @ image.wavelength / total, light.sum(axis=1) @ image.slit / total)
    return found


@pytest.mark.parametrize("name", ["VIS", "NIR"])
def test_light_lies_at_its_wavelength_and_slit_position(name, known_geometry, tmp_path):
    arm, model = load_instrument().arm(name), OpticalModel.of_seed(name, SEED)
    image, wavelengths = spots(arm, model)
    path = product(arm, image, tmp_path / "a.fits")
    frames = [(str(path), ""), *known_geometry(name, SEED, tmp_path)]
    found = places(arm, frames, tmp_path / "out")
    assert len(found) == len(arm.orders)
    left = places(arm, frames, tmp_path / "left", **{"correct-flexure": False})
    for number, wavelength in wavelengths.items():
        ends = [
            np.ravel(model.evaluate(number, np.array([wavelength + d]), np.array([PLACE]))) for d in (-0.5, 0.5)
        ]
        pixel = 1.0 / abs((ends[1] - ends[0])[1 - arm.dispersion_axis])  # nm
        assert found[number][0] == pytest.approx(wavelength, abs=0.05 * pixel)
        assert found[number][1] == pytest.approx(PLACE, abs=0.05 * arm.pixel_scale)
        # Where nothing is corrected it is as far off as the exposure was moved.
        assert abs(left[number][0] - wavelength) == pytest.approx(ALONG * pixel, abs=0.7 * pixel)
        assert abs(left[number][1] - PLACE) == pytest.approx(abs(ACROSS) * arm.pixel_scale, rel=0.3)
