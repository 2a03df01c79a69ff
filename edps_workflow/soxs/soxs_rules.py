"""Conditions that a list of keyword values cannot express."""

import math

from . import soxs_keywords as kwd

# How the headers name the arms.
UVVIS_NAMES = ("VIS", "UVVIS", "UV-VIS", "UV_VIS", "UVB")
NIR_NAMES = ("NIR", "IR")
# A night at La Silla is named by the date at UTC minus 15 hours: the calibrations of the afternoon before and of
# the morning after belong to it.
NIGHT_BEGINS = 15.0 / 24.0
# Exposure times are equal when no dark could tell them apart.
EXPTIME_TOLERANCE = 0.01
EXPTIME_FLOOR = 0.05


def text(f, keyword):
    """A value in capitals, without blanks around commas; empty when it is absent."""
    value = f[keyword]
    return "" if value is None else ",".join(part.strip() for part in str(value).upper().split(","))


def words(f, keyword):
    """The words between commas and blanks of a value."""
    return set(text(f, keyword).replace(",", " ").split())


def all_of(*conditions):
    """One condition of several: on a file, or on a file and its calibration."""

    def together(*files):
        return all(condition(*files) for condition in conditions)

    return together


# CLASSIFICATION RULES


def is_soxs(f):
    """Of this instrument."""
    return text(f, kwd.instrume) == "SOXS"


def is_raw(f):
    """As the instrument wrote it: a product has a category."""
    return f[kwd.pro_catg] is None


def is_usable(f):
    """Not of a simulated slit wheel, whose frames show something other than their headers say."""
    return not {text(f, kwd.ins_vise_swsim), text(f, kwd.ins_nise_swsim)} & {"T", "TRUE"}


def is_uvvis(f):
    """Usable raw frame of the UV-VIS arm."""
    return is_soxs(f) and is_raw(f) and is_usable(f) and text(f, kwd.seq_arm) in UVVIS_NAMES


def is_nir(f):
    """Usable raw frame of the NIR arm."""
    return is_soxs(f) and is_raw(f) and is_usable(f) and text(f, kwd.seq_arm) in NIR_NAMES


def is_bias(f):
    """Of no exposure time."""
    return "BIAS" in words(f, kwd.dpr_type)


def is_dark(f):
    """Exposed behind a closed shutter or a blank."""
    return "DARK" in words(f, kwd.dpr_type)


def slit_of(f):
    """Name of what stands in the slit wheel of the frame's arm."""
    return text(f, kwd.ins_vise_name if text(f, kwd.seq_arm) in UVVIS_NAMES else kwd.ins_nise_name)


def mask_of(f):
    """Through what the light came; slit wheel and template tell where the technique is IMAGE (lamp off)."""
    for source in (text(f, kwd.dpr_tech), slit_of(f), text(f, kwd.tpl_id), text(f, kwd.tpl_name)):
        for mask in ("MULT", "PINHOLE", "SLIT"):
            if mask in source:
                return mask
    return "SLIT"


def through_pinhole(f):
    """Through the single pinhole."""
    return mask_of(f) == "PINHOLE"


def through_pinholes(f):
    """Through the row of pinholes."""
    return mask_of(f) == "MULT"


def through_slit(f):
    """Through a slit."""
    return mask_of(f) == "SLIT"


def is_lamp_off(f):
    """Taken with the lamps off, for the thermal background of a lit frame."""
    return "OFF" in words(f, kwd.dpr_type) or (
        "IMAGE" in text(f, kwd.dpr_tech) and "ECHELLE" not in text(f, kwd.dpr_tech)
    )


def is_lamp_on(f):
    """Not taken with the lamps off."""
    return not is_lamp_off(f)


def is_lamp_exposure(f):
    """A calibration of the instrument with an open slit, but none of the detector alone."""
    return "BLANK" not in slit_of(f) and not is_bias(f) and not is_dark(f)


def is_linearity(f):
    """Of a series of flats for the detector's gain and linearity."""
    return is_lamp_exposure(f) and bool(words(f, kwd.dpr_type) & {"DETCHAR", "DETLIN", "LINEARITY", "DETCHECK"})


def is_arc(f):
    """Light of an arc lamp."""
    return (
        is_lamp_exposure(f)
        and not is_linearity(f)
        and bool(words(f, kwd.dpr_type) & {"WAVE", "ARC", "ARCS", "FMTCHK"})
    )


def is_order_definition(f):
    """Said by its type to show where the orders run."""
    return any(word.endswith("ORDERDEF") for word in words(f, kwd.dpr_type))


def is_continuum(f):
    """Light of a flat-field lamp; flats of the dome or the sky have no use."""
    found = words(f, kwd.dpr_type)
    return (
        is_lamp_exposure(f)
        and not is_linearity(f)
        and not is_arc(f)
        and bool(found & {"FLAT", "QFLAT", "DFLAT"} or is_order_definition(f))
        and not found & {"DOME", "TWILIGHT", "SKY"}
    )


def is_orderdef(f):
    """Flat that shows where the orders run: through the pinhole as a rule."""
    return is_continuum(f) and (is_order_definition(f) or not through_slit(f))


def is_flat(f):
    """Flat through a slit, of any lamp."""
    return is_continuum(f) and not is_order_definition(f) and through_slit(f)


def is_lit(f, keyword):
    """The keyword names a lamp that shines."""
    return text(f, keyword) not in ("", "OFF", "NONE", "F", "FALSE", "0", "-")


def is_d2_flat(f):
    """Of the deuterium lamp; the type says so, or the one lamp that is lit."""
    found = words(f, kwd.dpr_type)
    alone = is_lit(f, kwd.ins_deut_name) and not is_lit(f, kwd.ins_qth_name)
    return is_flat(f) and ("DFLAT" in found or (alone and "QFLAT" not in found))


def is_qth_flat(f):
    """Of the halogen lamp."""
    found = words(f, kwd.dpr_type)
    alone = is_lit(f, kwd.ins_qth_name) and not is_lit(f, kwd.ins_deut_name)
    return is_flat(f) and "DFLAT" not in found and ("QFLAT" in found or alone)


def is_other_flat(f):
    """Of a lamp that the header does not tell, or of both."""
    return is_flat(f) and not is_d2_flat(f) and not is_qth_flat(f)


def is_on_sky(f):
    """Spectrum taken with the telescope."""
    found = words(f, kwd.dpr_type)
    return "ECHELLE" in text(f, kwd.dpr_tech) and not found & {"BIAS", "DARK", "FLAT", "WAVE", "DETCHAR"}


def is_sky(f):
    """Of the sky beside a target."""
    return is_on_sky(f) and "SKY" in words(f, kwd.dpr_type)


def is_standard(f):
    """Of a standard star."""
    return is_on_sky(f) and "STD" in words(f, kwd.dpr_type) and not is_sky(f)


def is_telluric_standard(f):
    """Of a star for telluric bands, whose flux is not known."""
    return is_standard(f) and bool(words(f, kwd.dpr_type) & {"TELLURIC", "TELL"})


def is_flux_standard(f):
    """Of a star of known flux."""
    return is_standard(f) and not is_telluric_standard(f)


def is_object(f):
    """Of a science target."""
    return is_on_sky(f) and "OBJECT" in words(f, kwd.dpr_type) and not is_sky(f) and not is_standard(f)


def is_nod(f):
    """Nodded along the slit."""
    return "NOD" in text(f, kwd.dpr_tech)


def is_offset(f):
    """Of an object and its sky apart."""
    return "OFFSET" in text(f, kwd.dpr_tech)


def is_map(f):
    """Of one position of a map."""
    return "MAP" in text(f, kwd.dpr_tech)


def is_stare(f):
    """In none of the other modes."""
    return not is_nod(f) and not is_offset(f) and not is_map(f)


# ASSOCIATION RULES
#  - first input, e.g. ref=trigger (e.g. science)
#  - second input, e.g. f=file to associate (e.g. calibration)


def agree(ref, f, keyword):
    """Equal, or unknown to one of the two."""
    return None in (ref[keyword], f[keyword]) or ref[keyword] == f[keyword]


def same_arm(ref, f):
    """Of one instrument and arm."""
    return agree(ref, f, kwd.instrume) and agree(ref, f, kwd.seq_arm)


def same_binning(ref, f):
    """With pixels binned alike."""
    return agree(ref, f, kwd.det_binx) and agree(ref, f, kwd.det_biny)


def same_setup(ref, f):
    """With pixels binned and read alike."""
    return same_binning(ref, f) and agree(ref, f, kwd.det_read_curid) and agree(ref, f, kwd.det_read_curname)


def same_exptime(ref, f):
    """Equally long, to what a dark could tell; one without a time goes with all."""
    ours, theirs = ref[kwd.exptime], f[kwd.exptime]
    if None in (ours, theirs):
        return True
    return abs(float(ours) - float(theirs)) <= max(EXPTIME_FLOOR, EXPTIME_TOLERANCE * float(ours))


def same_slit(ref, f):
    """Through the same opening; one that is not known goes with all."""
    return "" in (slit_of(ref), slit_of(f)) or slit_of(ref) == slit_of(f)


def same_template(ref, f):
    """Of one run of a template."""
    return agree(ref, f, kwd.tpl_start)


def night_of(f):
    """Number of the night: the day of its afternoon in modified Julian days."""
    return math.floor(float(f[kwd.mjd_obs]) - NIGHT_BEGINS)


def same_night(ref, f):
    """Of one night with its afternoon and morning."""
    return night_of(ref) == night_of(f)


def target_of(f):
    """What was observed; a sky frame belongs to the target of its observing block."""
    first, second = (kwd.obs_targ_name, kwd.target_name) if is_sky(f) else (kwd.target_name, kwd.obs_targ_name)
    return f[first] or f[second]


def same_target(ref, f):
    """Of one target."""
    return target_of(ref) == target_of(f)


def same_observation(ref, f):
    """Of one target in one observing block."""
    return agree(ref, f, kwd.obs_id) and same_target(ref, f)


# A dark as long as the exposure, in the same read mode or in any.
assoc_dark = all_of(same_arm, same_setup, same_exptime)
assoc_dark_any_mode = all_of(same_arm, same_binning, same_exptime)

# Frames with the lamp off: of the template, or at least of the night.
assoc_off = all_of(same_arm, same_binning, same_exptime, same_template)
assoc_off_of_night = all_of(same_arm, same_binning, same_exptime, same_night)
assoc_off_any_exptime = all_of(same_arm, same_binning, same_night)

# A flat through the same slit, in the same read mode or in any.
assoc_flat = all_of(same_arm, same_setup, same_slit)
assoc_flat_any_mode = all_of(same_arm, same_binning, same_slit)

# Frames that one recipe call takes beside its main input.
assoc_other_lamp = all_of(same_arm, same_setup, same_slit, same_night)
assoc_sky = all_of(same_arm, same_setup, same_slit, same_night, same_observation)

# The same target seen by the other arm.
assoc_other_arm = all_of(same_night, same_target)
