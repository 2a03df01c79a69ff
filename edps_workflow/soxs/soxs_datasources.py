"""Data sources, in the order of the cascade, and the association rules that differ from theirs.

Times, keywords and levels are those of `soxs_recipes/cascade/tasks.py`, which a test holds them to. What serves
only for want of something better has level 2 or more.
"""

from edps import data_source, match_rules
from edps.generator.time_range import IN_THE_PAST, ONE_MONTH, ONE_WEEK, UNLIMITED, RelativeTimeRange

from . import soxs_keywords as kwd
from . import soxs_rules as rules
from .soxs_classification import *

# Convention for Data sources Association rule levels:
# Each data source can have several match function which correspond to different
# quality levels for the selected data. The level is specified as a number that
# follows this convention:
#   level < 0: more restrictive than the calibration plan
#   level = 0 follows the calibration plan
#   level = 1 quality sufficient for QC1 certification
#   level = 2 probably still acceptable quality
#   level = 3 significant risk of bad quality results

# --- General variables -----------------------------------------------------------------------------------------

# From the calibrations of the afternoon before to those of the morning after.
NIGHT = RelativeTimeRange(-0.7, 0.7)
# Arcs that an observer took around an exposure.
AROUND_EXPOSURE = RelativeTimeRange(-0.15, 0.15)
# Exposures less than the first [d] apart, and all within the second, are of one night.
NIGHT_GAP, NIGHT_LENGTH = 0.4, 0.6

arm = [kwd.instrume, kwd.seq_arm]
binning = [*arm, kwd.det_binx, kwd.det_biny]
setup = [*binning, kwd.det_read_curid, kwd.det_read_curname]
slit = [kwd.ins_vise_name, kwd.ins_nise_name]
template = [*setup, kwd.tpl_start]
observation = [*setup, *slit, kwd.obs_id, kwd.target_name]
# Exposures that are not subtracted from one another must be equally long.
equal_exposures = [*observation, kwd.exptime]


def calibration_plan(builder, keywords):
    """The usual levels by age, on a data source or on match rules."""
    return (
        builder.with_match_keywords(keywords, time_range=NIGHT, level=0)
        .with_match_keywords(keywords, time_range=ONE_WEEK, level=1)
        .with_match_keywords(keywords, time_range=ONE_MONTH, level=2)
        .with_match_keywords(keywords, time_range=UNLIMITED, level=3)
    )


def up_to_a_week(builder, keywords):
    """What changes too fast for an older one to serve."""
    return builder.with_match_keywords(keywords, time_range=NIGHT, level=0).with_match_keywords(
        keywords, time_range=ONE_WEEK, level=1
    )


def lamp_off(label, rule):
    """Frames with the lamp off: those of the template, else others of the night that are as long."""
    return (
        data_source(label)
        .with_classification_rule(rule)
        .with_match_function(rules.assoc_off, time_range=NIGHT, level=0)
        .with_match_function(rules.assoc_off, time_range=ONE_WEEK, level=1)
        .with_match_function(rules.assoc_off_of_night, time_range=ONE_WEEK, level=1)
        .build()
    )


def exposures(label, vis_class, nir_class, grouping=observation):
    """Exposures on sky: all of one target, setup and observing block in a night are reduced together."""
    return (
        data_source(label)
        .with_classification_rule(vis_class)
        .with_classification_rule(nir_class)
        .with_setup_keywords([*setup, *slit])
        .with_grouping_keywords(grouping)
        .with_cluster(kwd.mjd_obs, NIGHT_GAP, NIGHT_LENGTH)
    )


def reference(label, keywords, *classes):
    """A table that holds for all times, by preference one that is older than the frames."""
    builder = data_source(label)
    for rule in classes:
        builder = builder.with_classification_rule(rule)
    return (
        builder.with_match_keywords(keywords, time_range=IN_THE_PAST, level=0)
        .with_match_keywords(keywords, time_range=UNLIMITED, level=3)
        .build()
    )


# --- Detector --------------------------------------------------------------------------------------------------

# Biases (UV-VIS)
raw_bias = calibration_plan(
    data_source("BIAS")
    .with_classification_rule(bias_vis_class)
    .with_setup_keywords(setup)
    .with_grouping_keywords(template),
    setup,
).build()

# Biases as they are, for the linearity
match_bias_for_linearity = up_to_a_week(match_rules(), setup)

# Darks (NIR). Where none is as long as the exposure, the nearest in time is scaled.
raw_dark = (
    data_source("DARK")
    .with_classification_rule(dark_nir_class)
    .with_setup_keywords([*setup, kwd.exptime])
    .with_grouping_keywords([*template, kwd.exptime])
    .with_match_function(rules.assoc_dark, time_range=NIGHT, level=0)
    .with_match_function(rules.assoc_dark, time_range=ONE_WEEK, level=1)
    .with_match_function(rules.assoc_dark, time_range=ONE_MONTH, level=2)
    .with_match_function(rules.assoc_dark_any_mode, time_range=ONE_MONTH, level=2)
    .with_match_function(rules.assoc_dark_any_mode, time_range=UNLIMITED, level=3)
    .with_match_keywords(binning, time_range=UNLIMITED, level=3)
    .build()
)

# UV-VIS darks are made elsewhere; they must fit.
match_dark_for_uvvis = (
    match_rules()
    .with_match_function(rules.assoc_dark, time_range=NIGHT, level=0)
    .with_match_function(rules.assoc_dark, time_range=ONE_WEEK, level=1)
    .with_match_function(rules.assoc_dark, time_range=ONE_MONTH, level=2)
)

# Lamp-off frames of all kinds (NIR), from which a dark is made when there is no other
raw_lamp_off = (
    data_source("LAMP_OFF")
    .with_classification_rule(wave_pin_nir_off_class)
    .with_classification_rule(orderdef_nir_off_class)
    .with_classification_rule(flat_slit_nir_off_class)
    .with_classification_rule(wave_mph_nir_off_class)
    .with_setup_keywords([*setup, kwd.exptime])
    .with_grouping_keywords([*template, kwd.exptime])
    .with_match_keywords(binning, time_range=UNLIMITED, level=3)
    .build()
)

# Flats of rising exposure time, for gain and linearity
raw_detlin = calibration_plan(
    data_source("DETLIN")
    .with_classification_rule(detlin_vis_class)
    .with_classification_rule(detlin_nir_on_class)
    .with_min_group_size(6)
    .with_setup_keywords(setup)
    .with_grouping_keywords([*template, *slit]),
    setup,
).build()

# The same with the lamp off (NIR)
raw_detlin_off = (
    data_source("DETLIN_OFF")
    .with_classification_rule(detlin_nir_off_class)
    .with_match_function(rules.assoc_other_lamp, time_range=NIGHT, level=0)
    .build()
)

# --- Wavelengths and orders ------------------------------------------------------------------------------------

# Lamp-off frames of the night whose exposure time is another: when there is no dark either
match_off_any_exptime = match_rules().with_match_function(
    rules.assoc_off_any_exptime, time_range=ONE_WEEK, level=3
)

# Arcs through the single pinhole
raw_wave_pin = calibration_plan(
    data_source("WAVE_PIN")
    .with_classification_rule(wave_pin_vis_class)
    .with_classification_rule(wave_pin_nir_on_class)
    .with_setup_keywords(setup)
    .with_grouping_keywords([*template, kwd.exptime]),
    binning,
).build()

# The same with the lamp off (NIR)
raw_wave_pin_off = lamp_off("WAVE_PIN_OFF", wave_pin_nir_off_class)

# For want of a 2-D solution
match_dispersion_for_exposures = match_rules().with_match_keywords(binning, time_range=UNLIMITED, level=3)

# Flats through the single pinhole
raw_orderdef = calibration_plan(
    data_source("ORDERDEF")
    .with_classification_rule(orderdef_vis_class)
    .with_classification_rule(orderdef_nir_on_class)
    .with_setup_keywords(setup)
    .with_grouping_keywords([*template, kwd.exptime]),
    binning,
).build()

# The same with the lamp off (NIR)
raw_orderdef_off = lamp_off("ORDERDEF_OFF", orderdef_nir_off_class)

# The 2-D solution takes order centres beside the edges only when they are recent.
match_centres_for_solution = up_to_a_week(match_rules(), binning)

# Flats through a slit: of the halogen lamp or of a lamp not told, and of the NIR
raw_flat = (
    data_source("FLAT")
    .with_classification_rule(flat_slit_vis_class)
    .with_classification_rule(flat_slit_vis_qth_class)
    .with_classification_rule(flat_slit_nir_on_class)
    .with_setup_keywords([*setup, *slit])
    .with_grouping_keywords([*template, *slit])
    .with_match_function(rules.assoc_flat, time_range=NIGHT, level=0)
    .with_match_function(rules.assoc_flat, time_range=ONE_WEEK, level=1)
    .with_match_function(rules.assoc_flat_any_mode, time_range=ONE_MONTH, level=2)
    .with_match_function(rules.assoc_flat_any_mode, time_range=UNLIMITED, level=3)
    .with_match_keywords(binning, time_range=UNLIMITED, level=3)
    .build()
)

# Edges of the orders do not depend on the slit.
match_edges = calibration_plan(match_rules(), binning)

# Flats of the deuterium lamp (UV-VIS), which join those of the halogen lamp
raw_flat_d2 = (
    data_source("FLAT_D2")
    .with_classification_rule(flat_slit_vis_d2_class)
    .with_match_function(rules.assoc_other_lamp, time_range=NIGHT, level=0)
    .build()
)

# Slit flats with the lamp off (NIR)
raw_flat_off = lamp_off("FLAT_OFF", flat_slit_nir_off_class)

# Arcs through the pinholes
raw_wave_mph = (
    data_source("WAVE_MPH")
    .with_classification_rule(wave_mph_vis_class)
    .with_classification_rule(wave_mph_nir_on_class)
    .with_setup_keywords(setup)
    .with_grouping_keywords([*template, kwd.exptime])
    .with_match_keywords(binning, time_range=NIGHT, level=0)
    .with_match_keywords(binning, time_range=ONE_MONTH, level=2)
    .with_match_keywords(binning, time_range=UNLIMITED, level=3)
    .build()
)

# The same with the lamp off (NIR)
raw_wave_mph_off = lamp_off("WAVE_MPH_OFF", wave_mph_nir_off_class)

# The user's own arcs through the slit, before and after an exposure
raw_user_arc = (
    data_source("WAVE_SLIT")
    .with_classification_rule(wave_slit_vis_class)
    .with_classification_rule(wave_slit_nir_class)
    .with_match_keywords(binning, time_range=AROUND_EXPOSURE, level=0)
    .build()
)

# --- Standard stars --------------------------------------------------------------------------------------------
# Their own rules say which standard's trace serves a target that is not seen.

raw_std_flux_stare = up_to_a_week(
    exposures("STD_FLUX_STARE", std_flux_stare_vis_class, std_flux_stare_nir_class, equal_exposures), binning
).build()

raw_std_flux_nod = up_to_a_week(
    exposures("STD_FLUX_NOD", std_flux_nod_vis_class, std_flux_nod_nir_class), binning
).build()

raw_std_flux_offset = up_to_a_week(
    exposures("STD_FLUX_OFFSET", std_flux_offset_vis_class, std_flux_offset_nir_class), binning
).build()

# A response serves its arm whatever the detector's setup: one of the night, of the week, of the month, any.
match_response = (
    match_rules().with_match_keywords(arm, time_range=NIGHT, level=0),
    match_rules().with_match_keywords(arm, time_range=ONE_WEEK, level=1),
    match_rules().with_match_keywords(arm, time_range=ONE_MONTH, level=2),
    match_rules().with_match_keywords(arm, time_range=UNLIMITED, level=3),
)

# Telluric standards are reduced as science is.
raw_std_tell_stare = exposures(
    "STD_TELL_STARE", std_tell_stare_vis_class, std_tell_stare_nir_class, equal_exposures
).build()

raw_std_tell_nod = exposures("STD_TELL_NOD", std_tell_nod_vis_class, std_tell_nod_nir_class).build()

raw_std_tell_offset = exposures("STD_TELL_OFFSET", std_tell_offset_vis_class, std_tell_offset_nir_class).build()

# --- Science ---------------------------------------------------------------------------------------------------

raw_object_stare = exposures(
    "OBJECT_STARE", object_stare_vis_class, object_stare_nir_class, equal_exposures
).build()

raw_object_nod = exposures("OBJECT_NOD", object_nod_vis_class, object_nod_nir_class).build()

raw_object_offset = exposures("OBJECT_OFFSET", object_offset_vis_class, object_offset_nir_class).build()

raw_object_map = exposures("OBJECT_MAP", object_map_vis_class, object_map_nir_class, equal_exposures).build()

# Sky beside the object, of the same observing block
raw_sky_offset = (
    data_source("SKY_OFFSET")
    .with_classification_rule(sky_offset_vis_class)
    .with_classification_rule(sky_offset_nir_class)
    .with_match_function(rules.assoc_sky, time_range=NIGHT, level=0)
    .build()
)

# The check of the wavelengths of the other arm, on the same target in the same night
match_line_check = (
    match_rules()
    .with_match_function(rules.assoc_other_arm, time_range=NIGHT, level=0)
    .with_match_function(rules.assoc_other_arm, time_range=ONE_WEEK, level=1)
)

# --- Archive of responses --------------------------------------------------------------------------------------

response_archive = reference("RESP_ARCHIVE", arm, resp_archive_vis_class, resp_archive_nir_class)

match_archive_for_exposures = match_rules().with_match_keywords(arm, time_range=UNLIMITED, level=3)

# --- Static calibrations ---------------------------------------------------------------------------------------
# The recipes have their own; what is found among the input replaces them.

static_bad_pixels = reference("BP_MAP_REF", arm, bp_map_ref_vis_class, bp_map_ref_nir_class)

static_spectral_format = reference("SPECTRAL_FORMAT", arm, spectral_format_vis_class, spectral_format_nir_class)

static_arc_lines = reference("ARC_LINE_LIST", arm, arc_line_list_vis_class, arc_line_list_nir_class)

static_sky_lines = reference("SKY_LINE_LIST", [kwd.instrume], sky_line_list_class)

static_flux_standards = reference("FLUX_STD_CATALOG", [kwd.instrume], flux_std_catalog_class)

static_extinction = reference("EXTCOEFF_TABLE", [kwd.instrume], extcoeff_table_class)

static_tellurics = reference("TELLURIC_TRANSMISSION", [kwd.instrume], telluric_transmission_class)
