"""A small recipe for the commands, and frames for it."""

import numpy as np
from astropy.io import fits
from fake_night import MJD0, cards_of, write_frame

from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput

BIAS = ("CALIB", "BIAS", "IMAGE")


class CountFrames(Recipe):
    """Makes a product that says how many frames there were, and with which parameters."""

    declaration = Declaration(
        "soxs_count", "Count frames.", "Counts frames.",
        (RawInput("BIAS_<ARM>", "biases", min_count=2),),
        (Product("FRAME_COUNT_<ARM>", "the number of frames"),),
        (CalibrationInput("MASTER_BIAS_<ARM>", "a bias", made_by="soxs_mbias"),),
        (
            Parameter("level", float, 3.0, "sigma", "Where values are clipped.", minimum=1.0, maximum=9.0),
            Parameter("order-deg", str, "3,3", "", "Degrees along the orders."),
            Parameter("wavelength-deg", str, "5,5", "", "Degrees along the wavelength."),
            Parameter("smooth", bool, False, "", "Whether to smooth."),
        ),
        (QCDefinition("FRAME NUM", "", "Number of frames."),),
    )  # fmt: skip

    def process(self, inputs, parameters, outputs):
        if parameters["level"] == 9.0:
            raise AlgorithmError("the fit went nowhere", points=3)
        header = fits.Header({"LEVEL": parameters["level"], "DEGREES": parameters["order-deg"]})
        number = len(inputs.raw("BIAS"))
        hdu = fits.ImageHDU(np.full((2, 2), number, np.float32), header, name="DATA")
        outputs.add("FRAME_COUNT", [hdu], qc=[QCParameter("FRAME NUM", number)])


def bias(folder, number, **more):
    cards = cards_of("VIS", BIAS, mjd=MJD0 + number * 1e-3, exptime=0.0, **more)
    date = f"2025-11-21T00:0{number}:00"
    return write_frame(folder / f"bias{number}.fits", cards | {"DATE-OBS": date, "DATASUM": "0"})
