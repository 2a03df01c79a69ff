import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import soxs_recipes

sys.path.insert(0, str(Path(__file__).parent.parent))

from fake_cpl import write_fake_cpl

ROOT = Path(soxs_recipes.__file__).parent.parent


@pytest.fixture(scope="session")
def fake_cpl(tmp_path_factory):
    """A folder with a package `cpl` of its own classes."""
    return write_fake_cpl(tmp_path_factory.mktemp("fake_cpl"))


@pytest.fixture
def python(tmp_path):
    """Run Python in a process of its own; `path` is its PYTHONPATH, `environment` what is set beside."""

    def run(*words, path=(ROOT,), cwd=tmp_path, **environment):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYESOREX", "ESOREX"))}
        environment = {**kept, **environment, "PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)

    return run


@pytest.fixture(scope="session")
def bias_sof(tmp_path_factory):
    """A set of five binned biases of the UV-VIS arm."""
    folder = tmp_path_factory.mktemp("biases")
    random = np.random.default_rng(5)
    lines = []
    for number in range(5):
        values = {
            "INSTRUME": "SOXS", "OBJECT": "BIAS", "EXPTIME": 0.0, "MJD-OBS": 61074.17 + number / 1000,
            "DATE-OBS": f"2026-02-03T04:0{number}:00.000", "ESO SEQ ARM": "VIS", "ESO DPR CATG": "CALIB",
            "ESO DPR TYPE": "BIAS", "ESO DPR TECH": "IMAGE", "ESO DET READ CURID": 1, "ESO DET BINX": 2,
            "ESO DET BINY": 2, "ESO DET OUT1 CONAD": 2.0, "ESO DET OUT1 GAIN": 0.5, "ESO DET CHIP RON": 4.0,
        }  # fmt: skip
        header = fits.Header({f"HIERARCH {k}" if k.startswith("ESO ") else k: v for k, v in values.items()})
        data = np.round(random.normal(1000.0, 2.0, (2048, 454))).astype(np.uint16)
        fits.PrimaryHDU(data, header).writeto(folder / f"bias{number}.fits")
        lines.append(f"bias{number}.fits BIAS_VIS\n")
    sof = folder / "bias.sof"
    sof.write_text("# as pyesorex takes it: no groups\n" + "".join(lines))
    return sof
