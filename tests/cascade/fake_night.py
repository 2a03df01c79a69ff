"""Frames with headers only: the data are holes in the file, so that a night costs no disk and no time."""

from pathlib import Path

BLOCK = 2880
SHAPES = {"VIS": (908, 4096), "NIR": (2048, 2048), "ACQ": (1024, 1024)}
MJD0 = 61000.0  # 2025-11-21, 0 h UT


def card(keyword, value):
    if keyword.startswith("ESO "):
        keyword = f"HIERARCH {keyword}"
    left = f"{keyword:<8}"
    if isinstance(value, bool):
        text = "T" if value else "F"
    elif isinstance(value, str):
        text = "'" + value.replace("'", "''") + "'"
    else:
        text = repr(value)
    return f"{left}= {text:>20}"[:80].ljust(80)


def header_bytes(cards):
    text = "".join(card(*item) for item in cards.items()) + "END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("latin-1")


def write_frame(path, cards, *, truncate=0):
    """Write a frame; `truncate` bytes are missing at its end."""
    path = Path(path)
    header = header_bytes(cards)
    data = abs(cards["BITPIX"]) // 8 * cards["NAXIS1"] * cards["NAXIS2"]
    size = len(header) + -(-data // BLOCK) * BLOCK - truncate
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(max(size, 0))
    return path


_serial = iter(range(1, 10**9))


def cards_of(arm, dpr, *, mjd, exptime=10.0, slit="SLIT1.0", template="TEMPLATE", start=None, expno=1, **more):
    catg, kind, tech = dpr
    nx, ny = SHAPES[arm]
    cards = {
        "SIMPLE": True, "BITPIX": 16, "NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny, "INSTRUME": "SOXS",
        "DATASUM": str(1000 + next(_serial)), "OBJECT": more.pop("target", kind), "EXPTIME": exptime,
        "MJD-OBS": mjd,
        "ESO DPR CATG": catg, "ESO DPR TYPE": kind, "ESO DPR TECH": tech, "ESO SEQ ARM": arm,
        "ESO TPL ID": template, "ESO TPL START": start or f"start-{mjd:.3f}", "ESO TPL EXPNO": expno,
        "ESO DET READ CURID": 1 if arm == "VIS" else 3, "ESO DET OUT1 CONAD": 2.0, "ESO DET CHIP RON": 3.8,
    }  # fmt: skip
    if arm == "VIS":
        cards |= {"ESO DET BINX": 1, "ESO DET BINY": 1, "ESO INS VISE NAME": slit}
    elif arm == "NIR":
        cards["ESO INS NISE NAME"] = slit
    return {key: value for key, value in (cards | more).items() if value is not None}


class Night:
    """Writes frames with file names in order of time."""

    def __init__(self, folder, mjd=MJD0):
        self.folder, self.mjd = Path(folder), mjd
        self.folder.mkdir(parents=True, exist_ok=True)
        self.written = {}

    def add(self, label, arm, dpr, count=1, *, at=0.0, **more):
        paths = []
        start = more.pop("start", f"T{self.mjd + at:.4f}{label}")
        for number in range(1, count + 1):
            mjd = self.mjd + at + number * 0.001
            cards = cards_of(arm, dpr, mjd=mjd, start=start, expno=number, **more)
            paths.append(write_frame(self.folder / f"SOXS.{label}.{number:02d}.fits", cards))
        self.written[label] = paths
        return paths

    def calibrations(self, arm, slits=("SLIT1.0", "SLIT5.0")):
        pinhole, pinholes = ("PINHOLE", "MULTPIN")
        low = arm.lower()
        on_off = arm == "NIR"

        def lamp(name, kind, tech, slit, count, at, exptime):
            self.add(f"{low}_{name}", arm, ("CALIB", kind, tech), count, at=at, slit=slit, exptime=exptime,
                     start=f"{name}{self.mjd}")  # fmt: skip
            if on_off:
                self.add(f"{low}_{name}_off", arm, ("CALIB", kind, "IMAGE"), count, at=at + 0.005, slit=slit,
                         exptime=exptime, start=f"{name}{self.mjd}")  # fmt: skip

        if arm == "VIS":
            self.add("vis_bias", arm, ("CALIB", "BIAS", "IMAGE"), 5, at=-0.30, exptime=0.0)
        else:
            self.add("nir_dark300", arm, ("CALIB", "DARK", "IMAGE"), 5, at=-0.30, exptime=300.0)
        lamp("arc", "LAMP,WAVE", "ECHELLE,PINHOLE", pinhole, 1, -0.28, 20.0)
        lamp("order", "LAMP,FLAT", "ECHELLE,PINHOLE", pinhole, 1, -0.26, 15.0)
        for number, slit in enumerate(slits):
            lamp(f"flat{slit}", "LAMP,FLAT", "ECHELLE,SLIT", slit, 5, -0.24 + 0.02 * number, 8.0)
        lamp("multi", "LAMP,WAVE", "ECHELLE,MULTI-PINHOLE", pinholes, 1, -0.18, 40.0)

    def standard(self, arm, slit="SLIT5.0", at=0.01):
        self.add(f"{arm.lower()}_std", arm, ("CALIB", "STD,FLUX", "ECHELLE,SLIT,STARE"), 1, at=at, slit=slit,
                 exptime=300.0, target="GD71")  # fmt: skip

    def science(self, arm, count=3, at=0.1, target="SN2026abc", exptime=300.0, slit="SLIT1.0"):
        label = f"{arm.lower()}_{target.replace('/', '_')[:20]}"
        self.add(label, arm, ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE"), count, at=at,
                 slit=slit, exptime=exptime, target=target)  # fmt: skip

    def complete(self):
        for arm in ("VIS", "NIR"):
            self.calibrations(arm)
            self.standard(arm)
            self.science(arm)
        return self
