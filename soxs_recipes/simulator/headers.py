"""Headers of raw frames, keyword by keyword as the instrument writes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from astropy.io import fits
from astropy.time import Time, TimeDelta

from soxs_recipes.errors import InputError
from soxs_recipes.simulator.hardware import ArmHardware

__all__ = ["KINDS", "STARING", "FrameKind", "Offset", "Pointing", "Sequence", "frame_kind", "raw_header"]


@dataclass(frozen=True, slots=True)
class FrameKind:
    """A raw type.

    Attributes
    ----------
    name : str
    category, type, technique : str
        `ESO DPR CATG|TYPE|TECH`.
    mask : str
        What stands in the slit wheel: "slit", "pinhole", "multi-pinhole" or "any".
    lamp : str
        "", "arc" or "continuum".
    template : str
        `ESO TPL ID` with {arm}.
    on_sky : bool
    """

    name: str
    category: str
    type: str
    technique: str
    mask: str
    lamp: str
    template: str
    on_sky: bool = False

    def at(self, offset: Offset) -> FrameKind:
        """The raw type as the mode of an exposure on sky changes it."""
        if not self.on_sky or offset.mode == "STARE":
            return self
        template = _MODE_TEMPLATES[(self.category, "STEPS" if offset.generic else offset.mode)]
        technique = f"ECHELLE,SLIT,{_TECHNIQUES[offset.mode]}"
        return replace(self, type="SKY" if offset.typed_sky else self.type, technique=technique, template=template)


@dataclass(frozen=True, slots=True)
class Offset:
    """Where an exposure on sky stands in the offset pattern of its template.

    Attributes
    ----------
    mode : {"STARE", "NOD", "OFFSET", "MAP"}
    beam : str
        "A" or "B", "O" (object) or "S" (sky), "M"; "" when staring.
    x, y : float [arcsec]
        Displacement of the target from where the template began, across and along the slit.
    throw, jitter : float [arcsec]
    fixed : (ra, dec) [arcsec]
        From the object to the sky field; none in generic patterns.
    typed_sky : bool
        A sky exposure that says so in `DPR TYPE`.
    """

    mode: str = "STARE"
    beam: str = ""
    x: float = 0.0
    y: float = 0.0
    throw: float = 0.0
    jitter: float = 0.0
    fixed: tuple[float, float] = (0.0, 0.0)
    typed_sky: bool = False

    @property
    def generic(self) -> bool:
        """Whether the user wrote the pattern step by step."""
        return self.mode == "OFFSET" and self.fixed == (0.0, 0.0)


STARING = Offset()
# Names [I] are formed like those of the published templates.
_MODE_TEMPLATES = {
    ("SCIENCE", "NOD"): "SOXS_slt_obs_AutoNodOnSlit",
    ("SCIENCE", "OFFSET"): "SOXS_slt_obs_FixedSkyOffset",
    ("SCIENCE", "STEPS"): "SOXS_slt_obs_GenericOffset",
    ("SCIENCE", "MAP"): "SOXS_slt_obs_Mapping",
    ("CALIB", "NOD"): "SOXS_slt_cal_SpecphotNodding",
    ("CALIB", "OFFSET"): "SOXS_slt_cal_SpecphotOffset",
}
_TECHNIQUES = {"NOD": "NODDING", "OFFSET": "OFFSET", "MAP": "MAPPING"}
_CAL = "SOXS_slt_cal_{arm}"
KINDS = {
    kind.name: kind
    for kind in (
        FrameKind("bias", "CALIB", "BIAS", "IMAGE", "any", "", "SOXS_gen_cal_{arm}Bias"),
        FrameKind("dark", "CALIB", "DARK", "IMAGE", "any", "", "SOXS_gen_cal_{arm}Dark"),
        FrameKind("pinhole_arc", "CALIB", "LAMP,WAVE", "ECHELLE,PINHOLE", "pinhole", "arc", _CAL + "ArcsPinhole"),
        FrameKind(
            "pinhole_flat",
            "CALIB",
            "LAMP,FLAT",
            "ECHELLE,PINHOLE",
            "pinhole",
            "continuum",
            _CAL + "LampFlatPinhole",
        ),
        FrameKind("slit_flat", "CALIB", "LAMP,FLAT", "ECHELLE,SLIT", "slit", "continuum", _CAL + "LampFlat"),
        FrameKind(
            "multi_pinhole_arc",
            "CALIB",
            "LAMP,WAVE",
            "ECHELLE,MULTI-PINHOLE",
            "multi-pinhole",
            "arc",
            _CAL + "ArcsMultiplePinhole",
        ),
        FrameKind("slit_arc", "CALIB", "LAMP,WAVE", "ECHELLE,SLIT", "slit", "arc", _CAL + "ArcsSlit"),
        FrameKind("linearity", "CALIB", "LAMP,DETCHAR", "ECHELLE,SLIT", "slit", "continuum", _CAL + "DetLin"),
        FrameKind(
            "standard",
            "CALIB",
            "STD,FLUX",
            "ECHELLE,SLIT,STARE",
            "slit",
            "",
            "SOXS_slt_cal_SpecphotStdStare",
            True,
        ),
        FrameKind(
            "science", "SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE", "slit", "", "SOXS_slt_obs_StareSynchro", True
        ),
    )
}

_MASK_NAMES = {"pinhole": "PINHOLE", "multi-pinhole": "MULTPIN"}
_ARC_LAMPS = {
    "VIS": (("THAR", "ThAr_Lamp"),),
    "NIR": (("ARGO", "Argo_Lamp"), ("NEON", "Neon_Lamp"), ("MERC", "Merc_Lamp"), ("XENO", "Xeno_Lamp")),
}
_CONTINUUM_LAMPS = {"QTH": ("QTH", "Qth_Lamp"), "D2": ("DEUT", "Deut_Lamp")}


def frame_kind(name: str) -> FrameKind:
    """A raw type by name; InputError lists the names."""
    if name not in KINDS:
        raise InputError(f"the simulator makes no {name!r} frames; it makes {', '.join(KINDS)}")
    return KINDS[name]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Where a frame stands in its template and observing block.

    Attributes
    ----------
    start : Time
        Of the exposure.
    template_start : Time
    number, count : int
        `TPL EXPNO` and `TPL NEXP`.
    block : int
        `OBS ID`.
    lamps_off : bool
        A background frame of a lamp template.
    """

    start: Time
    template_start: Time
    number: int = 1
    count: int = 1
    block: int = 100000001
    lamps_off: bool = False


@dataclass(frozen=True, slots=True)
class Pointing:
    """Where the telescope looks and through what air.

    Attributes
    ----------
    target : str
    ra, dec : float [deg]
        Of the middle of the slit.
    airmass_start, airmass_end : float
    seeing : float [arcsec]
    offset : Offset
    position_angle : float [deg]
        Of the slit's positive half, from north to east.
    """

    target: str
    ra: float
    dec: float
    airmass_start: float = 1.0
    airmass_end: float = 1.0
    seeing: float = 0.9
    offset: Offset = STARING
    position_angle: float = 0.0


def raw_header(
    kind: FrameKind,
    hardware: ArmHardware,
    exposure_time: float,
    sequence: Sequence,
    pointing: Pointing,
    slit: str,
    lamp: str = "QTH",
    binning: tuple[int, int] = (1, 1),
) -> fits.Header:
    """The primary header of a raw frame.

    Parameters
    ----------
    kind : FrameKind
    hardware : ArmHardware
    exposure_time : float [s]
    sequence : Sequence
    pointing : Pointing
    slit : str
        Name of the slit, used where the kind looks through one.
    lamp : {"QTH", "D2"}
        Continuum lamp of a flat.
    binning : (y, x)
    """
    header = fits.Header()
    kind = kind.at(pointing.offset)
    cards = [
        *_observation_cards(kind, exposure_time, sequence, pointing),
        *_classification_cards(kind, hardware, sequence, lamp),
        *_offset_cards(pointing.offset),
        *_block_cards(kind, hardware, sequence, pointing),
        *_detector_cards(hardware, exposure_time, binning),
        *_instrument_cards(kind, hardware, sequence, slit, lamp),
        *_telescope_cards(kind, pointing),
    ]
    for keyword, value, comment in cards:
        name = keyword if " " not in keyword else f"HIERARCH {keyword}"
        header[name] = (value, comment if len(str(value)) + len(name) + len(comment) < 60 else "")
    return header


def _observation_cards(kind, exposure_time, sequence, pointing):
    target = pointing.target if kind.on_sky and kind.type != "SKY" else kind.type
    end = sequence.start + TimeDelta(exposure_time, format="sec")
    return [
        ("ORIGIN", "ESO-LASILLA", "European Southern Observatory"),
        ("TELESCOP", "ESO-NTT", "ESO telescope name"),
        ("INSTRUME", "SOXS", "Instrument used"),
        ("OBJECT", target, "Target description"),
        ("RA", round(pointing.ra, 6), "[deg] pointing"),
        ("DEC", round(pointing.dec, 6), "[deg] pointing"),
        ("EQUINOX", 2000.0, "Standard FK5"),
        ("RADECSYS", "FK5", "Coordinate system"),
        ("EXPTIME", float(exposure_time), "[s] Integration time"),
        ("MJD-OBS", round(float(sequence.start.mjd), 8), "Start of exposure"),
        ("MJD-END", round(float(end.mjd), 8), "End of exposure"),
        ("DATE-OBS", sequence.start.isot, "Start of exposure"),
        ("UTC", round(sequence.start.mjd % 1.0 * 86400.0, 3), "[s] start of exposure"),
        ("LST", round(sequence.start.mjd * 1.00273791 % 1.0 * 86400.0, 3), "[s] local sidereal time"),
        ("PI-COI", "SOXS consortium", "PI-COI name"),
        ("BUNIT", "adu", "Unit of the pixel values"),
    ]


def _classification_cards(kind, hardware, sequence, lamp):
    kind_type = kind.type.replace("LAMP,FLAT", "LAMP,DFLAT") if lamp == "D2" else kind.type
    technique = "IMAGE" if sequence.lamps_off else kind.technique
    return [
        ("ESO DPR CATG", kind.category, "Observation category"),
        ("ESO DPR TYPE", kind_type, "Observation type"),
        ("ESO DPR TECH", technique, "Observation technique"),
        ("ESO SEQ ARM", hardware.name, "Spectrograph arm"),
    ]


def _offset_cards(offset):
    cards = [
        ("ESO SEQ CUMOFF X", offset.x, "[arcsec] Cumulative offset"),
        ("ESO SEQ CUMOFF Y", offset.y, "[arcsec] Cumulative offset"),
    ]
    if offset.mode == "NOD":
        cards.append(("ESO SEQ NOD THROW", offset.throw, "[arcsec] Nod throw"))
    if offset.mode in ("NOD", "OFFSET"):
        cards.append(("ESO SEQ JITTER WIDTH", offset.jitter, "[arcsec] Jitter box"))
    if offset.mode == "OFFSET" and not offset.generic:
        # The move that brought the telescope here: negative back to the object.
        sign = 1.0 if offset.beam == "S" else -1.0
        cards += [
            (f"ESO SEQ FIXOFF {axis}", sign * value, "[arcsec] Fixed offset")
            for axis, value in zip(("RA", "DEC"), offset.fixed, strict=True)
        ]
    return cards


def _block_cards(kind, hardware, sequence, pointing):
    template = kind.template.format(arm=hardware.name)
    name = pointing.target if kind.on_sky else "Calibration"
    start = sequence.template_start.isot[:19]
    return [
        ("ESO OBS ID", sequence.block, "Observation block ID"),
        ("ESO OBS NAME", name, "OB name"),
        ("ESO OBS TARG NAME", name, "OB target name"),
        ("ESO OBS PROG ID", "60.A-9700(A)" if not kind.on_sky else "116.28HK.001", "ESO program"),
        ("ESO OBS NTPL", 1, "Number of templates within OB"),
        ("ESO OBS TPLNO", 1, "Template number within OB"),
        ("ESO OBS START", start, "OB start time"),
        ("ESO TPL ID", template, "Template signature ID"),
        ("ESO TPL NAME", template, "Template name"),
        ("ESO TPL START", start, "TPL start time"),
        ("ESO TPL EXPNO", sequence.number, "Exposure number within template"),
        ("ESO TPL NEXP", sequence.count, "Number of exposures within template"),
    ]


def _detector_cards(hardware, exposure_time, binning):
    common = [
        ("ESO DET READ CURID", hardware.read_mode[0], "Used readout mode id"),
        ("ESO DET READ CURNAME", hardware.read_mode[1], "Used readout mode name"),
        ("ESO DET OUTPUTS", 1, "Number of outputs"),
        ("ESO DET OUT1 CONAD", hardware.gain, "[e-/ADU] Electrons per count"),
        ("ESO DET OUT1 GAIN", round(1.0 / hardware.gain, 4), "[ADU/e-] Counts per electron"),
        ("ESO DET CHIP RON", hardware.read_noise, "[e-] Readout noise"),
        ("ESO DET CHIP PSZX", hardware.pixel_size, "[um] Pixel size"),
        ("ESO DET CHIP PSZY", hardware.pixel_size, "[um] Pixel size"),
    ]
    if hardware.reference_border:
        return [
            *common,
            ("ESO DET CHIP ID", "H2RG", "Detector ID"),
            ("ESO DET SEQ1 DIT", float(exposure_time), "[s] Integration time"),
            ("ESO DET NDIT", 1, "Number of sub-integrations"),
        ]
    y0, y1, x0, x1 = hardware.binned_window(binning)
    return [
        *common,
        ("ESO DET CHIP ID", "CCD44-82", "Detector ID"),
        ("ESO DET BINX", binning[1], "Binning factor along X"),
        ("ESO DET BINY", binning[0], "Binning factor along Y"),
        ("ESO DET OUT1 NX", x1 - x0, "Valid pixels along X"),
        ("ESO DET OUT1 NY", y1 - y0, "Valid pixels along Y"),
        ("ESO DET OUT1 PRSCX", x0, "Prescan region in X"),
        ("ESO DET OUT1 OVSCX", hardware.raw_shape[1] // binning[1] - x1, "Overscan region in X"),
    ]


def _instrument_cards(kind, hardware, sequence, slit, lamp):
    wheel = "VISE" if hardware.name == "VIS" else "NISE"
    mask = _MASK_NAMES.get(kind.mask, slit)
    cards = [
        (f"ESO INS {wheel} NAME", mask, "Slit or mask in the beam"),
        (f"ESO INS {wheel} SWSIM", False, "If T, function is software simulated"),
        ("ESO INS ACFW ID", "r_SDSS", "Acquisition filter"),
        ("ESO INS TEMP104 VAL", 153.0, "[K] UV-VIS detector"),
        ("ESO INS TEMP217 VAL", 40.0, "[K] NIR detector"),
        ("ESO INS TEMP301 VAL", 10.0, "[C] Common path"),
        *[(f"ESO INS AFC{i} POS{j}", 0.0, "[um] Flexure compensator") for i in (1, 2) for j in (1, 2)],
    ]
    lamps = ()
    if kind.lamp == "arc":
        lamps = _ARC_LAMPS[hardware.name]
    elif kind.lamp == "continuum":
        lamps = (_CONTINUUM_LAMPS[lamp],)
    return cards + [(f"ESO INS {key} NAME", "" if sequence.lamps_off else name, "Lamp") for key, name in lamps]


def _telescope_cards(kind, pointing):
    altitude = float(np.degrees(np.arcsin(1.0 / max(pointing.airmass_start, 1.0))))
    return [
        ("ESO ADA ABSROT END", 12.5, "[deg] Abs rot angle at exposure end"),
        ("ESO ADA POSANG", round(pointing.position_angle, 4), "[deg] Position angle"),
        ("ESO TEL AIRM START", round(pointing.airmass_start, 4), "Airmass at start"),
        ("ESO TEL AIRM END", round(pointing.airmass_end, 4), "Airmass at end"),
        ("ESO TEL PARANG START", 10.0, "[deg] Parallactic angle at start"),
        ("ESO TEL PARANG END", 12.0, "[deg] Parallactic angle at end"),
        ("ESO TEL AZ", 180.0, "[deg] Azimuth"),
        ("ESO TEL ALT", round(altitude, 4), "[deg] Altitude"),
        ("ESO TEL AMBI FWHM START", round(pointing.seeing, 2), "[arcsec] Seeing at start"),
        ("ESO TEL AMBI FWHM END", round(pointing.seeing, 2), "[arcsec] Seeing at end"),
        ("ESO TEL AMBI TEMP", 11.0, "[C] Ambient temperature"),
        ("ESO TEL AMBI PRES START", 770.5, "[hPa] Ambient pressure"),
        ("ESO TEL AMBI RHUM", 25.0, "[%] Ambient relative humidity"),
        ("ESO TEL GEOLAT", -29.2584, "[deg] Latitude"),
        ("ESO TEL GEOLON", -70.7345, "[deg] Longitude"),
        ("ESO TEL GEOELEV", 2375.0, "[m] Elevation"),
    ]
