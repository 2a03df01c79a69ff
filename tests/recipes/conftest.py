"""A small recipe and frames for it."""

from __future__ import annotations

import collections
import shutil

import hypothesis
import numpy as np
import pytest
from astropy.io import fits
from real_programs import find_fitsverify

from soxs_recipes import fits_files
from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.recipes.framework.base import Recipe
from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput

hypothesis.settings.register_profile("soxs", deadline=None)  # a busy machine is no error
hypothesis.settings.load_profile("soxs")


@pytest.fixture(autouse=True, scope="session")
def verified_products():
    """Every product that a recipe writes in these tests passes fitsverify, where it is; gives their names."""
    if shutil.which("fitsverify") is None:
        yield None
        return
    program, write, names = find_fitsverify(), fits_files.write_product, []

    def write_and_verify(path, *rest, **options):
        written = write(path, *rest, **options)
        faults = program.faults(written)
        assert not faults, faults
        names.append(written.name)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits_files, "write_product", write_and_verify)
        yield names


class MeanFrame(Recipe):
    """Averages frames; exercises every part of a declaration."""

    declaration = Declaration(
        name="soxs_mean_frame",
        synopsis="Average frames.",
        description="Averages all frames of a set.\n\nNothing else.",
        raws=(
            RawInput(
                "BIAS_<ARM>", "bias frames", min_count=2, recommended=3, agree=("READ_MODE_ID",), detector="ccd"
            ),
            RawInput("DARK_<ARM>", "dark frames", detector="infrared"),
        ),
        calibrations=(
            CalibrationInput("BP_MAP_RP_<ARM>", "bad pixels", ladder="no pixel is masked", made_by="soxs_mdark"),
        ),
        parameters=(
            Parameter(
                "frame-sigma", float, "auto", "sigma", "Where values are clipped.", minimum=1.0, typical=4.0
            ),
            Parameter("iterations", int, 3, "", "How often.", minimum=0, maximum=10),
            Parameter("method", str, "mean", "", "How to combine.", choices=("mean", "median")),
            Parameter("keep", bool, False, "", "Whether to keep all."),
        ),
        products=(
            Product("MEAN_FRAME_<ARM>", "mean of the frames"),
            Product("COUNT_TAB_<ARM>", "counts", "table"),
        ),
        qc=(
            QCDefinition("MEAN LEVEL", "ADU", "Mean level.", (0.0, 200.0)),
            QCDefinition("ORDER LEVEL", "ADU", "Level of an order.", per_order=True),
            QCDefinition("UNDEFINED", "", "Never defined."),
        ),
        algorithm_version=7,
    )

    def process(self, inputs, parameters, outputs):
        paths = inputs.all_raw
        stack = np.stack([fits.getdata(path).astype(float) for path in paths])
        mean = np.median(stack, axis=0) if parameters["method"] == "median" else stack.mean(axis=0)
        if inputs.calibration("BP_MAP_RP") is None:
            inputs.note("no bad-pixel map: no pixel is masked")
        qc = [
            QCParameter("MEAN LEVEL", float(mean.mean())),
            QCParameter("ORDER LEVEL", np.float32(1.5), order=13),
            QCParameter("UNDEFINED", float("nan")),
        ]
        outputs.add("MEAN_FRAME", [fits.PrimaryHDU(mean.astype(np.float32))], qc=qc, object_name="a b/../c")
        table = fits.BinTableHDU.from_columns([fits.Column("N", "J", array=np.arange(3))], name="COUNTS")
        outputs.add("COUNT_TAB", [table])


@pytest.fixture
def mean_frame():
    """The recipe's class."""
    return MeanFrame


def raw_header(**changes: object) -> fits.Header:
    """Header of a bias; `None` removes a keyword, `__` in a name stands for a blank."""
    values = {
        "INSTRUME": "SOXS",
        "OBJECT": "BIAS",
        "DATE-OBS": "2026-02-03T04:05:06.789",
        "MJD-OBS": 61074.170217,
        "EXPTIME": 0.0,
        "ARCFILE": "SOXS.2026-02-03T04:05:06.789.fits",
        "ESO SEQ ARM": "VIS",
        "ESO DPR CATG": "CALIB",
        "ESO DPR TYPE": "BIAS",
        "ESO DPR TECH": "IMAGE",
        "ESO DET BINX": 1,
        "ESO DET BINY": 1,
        "ESO DET READ CURID": 1,
        "ESO INS VISE NAME": "SLIT1.0",
        "ESO TEL AIRM START": 1.2,
    }
    values.update({key.replace("__", " "): value for key, value in changes.items()})
    header = fits.Header()
    for key, value in values.items():
        if value is not None:
            header[f"HIERARCH {key}" if key.startswith("ESO ") else key] = value
    return header


@pytest.fixture
def make_raw(tmp_path):
    """Write a raw frame of constant level; two pixels tell frames of one level apart. Returns its path."""
    of_level = collections.Counter()

    def make(name: str, level: float = 100.0, **changes: object):
        path = tmp_path / "raw" / name
        path.parent.mkdir(exist_ok=True)
        data = np.full((4, 5), level, dtype=np.float32)
        data[0, :2] += np.array([1, -1]) * of_level[level] / 128
        of_level[level] += 1
        fits.PrimaryHDU(data, raw_header(**changes)).writeto(path)
        return path

    return make
