import numpy as np
import pytest
from astropy.io import fits


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
