"""Classification rules: raw frames by what their headers say, products by their category."""

from edps import classification_rule

from . import soxs_keywords as kwd
from .soxs_rules import (
    all_of,
    is_arc,
    is_bias,
    is_d2_flat,
    is_dark,
    is_flat,
    is_flux_standard,
    is_lamp_off,
    is_lamp_on,
    is_linearity,
    is_map,
    is_nir,
    is_nod,
    is_object,
    is_offset,
    is_orderdef,
    is_other_flat,
    is_qth_flat,
    is_sky,
    is_stare,
    is_telluric_standard,
    is_uvvis,
    through_pinhole,
    through_pinholes,
    through_slit,
)


def product(tag):
    """The pipeline's products and tables, by their category."""
    return classification_rule(tag, {kwd.instrume: "SOXS", kwd.pro_catg: tag})


# --- Detector --------------------------------------------------------------------------------------------------
bias_vis_class = classification_rule("BIAS_VIS", all_of(is_uvvis, is_bias))
dark_nir_class = classification_rule("DARK_NIR", all_of(is_nir, is_dark))
detlin_vis_class = classification_rule("DETLIN_VIS", all_of(is_uvvis, is_linearity))
detlin_nir_on_class = classification_rule("DETLIN_NIR_ON", all_of(is_nir, is_linearity, is_lamp_on))
detlin_nir_off_class = classification_rule("DETLIN_NIR_OFF", all_of(is_nir, is_linearity, is_lamp_off))

# --- Arcs and flats through pinholes ---------------------------------------------------------------------------
wave_pin_vis_class = classification_rule("WAVE_PIN_VIS", all_of(is_uvvis, is_arc, through_pinhole))
wave_pin_nir_on_class = classification_rule("WAVE_PIN_NIR_ON", all_of(is_nir, is_arc, through_pinhole, is_lamp_on))
wave_pin_nir_off_class = classification_rule(
    "WAVE_PIN_NIR_OFF", all_of(is_nir, is_arc, through_pinhole, is_lamp_off)
)
orderdef_vis_class = classification_rule("ORDERDEF_VIS", all_of(is_uvvis, is_orderdef))
orderdef_nir_on_class = classification_rule("ORDERDEF_NIR_ON", all_of(is_nir, is_orderdef, is_lamp_on))
orderdef_nir_off_class = classification_rule("ORDERDEF_NIR_OFF", all_of(is_nir, is_orderdef, is_lamp_off))
wave_mph_vis_class = classification_rule("WAVE_MPH_VIS", all_of(is_uvvis, is_arc, through_pinholes))
wave_mph_nir_on_class = classification_rule(
    "WAVE_MPH_NIR_ON", all_of(is_nir, is_arc, through_pinholes, is_lamp_on)
)
wave_mph_nir_off_class = classification_rule(
    "WAVE_MPH_NIR_OFF", all_of(is_nir, is_arc, through_pinholes, is_lamp_off)
)

# --- Flats and arcs through a slit -----------------------------------------------------------------------------
flat_slit_vis_class = classification_rule("FLAT_SLIT_VIS", all_of(is_uvvis, is_other_flat))
flat_slit_vis_qth_class = classification_rule("FLAT_SLIT_VIS_QTH", all_of(is_uvvis, is_qth_flat))
flat_slit_vis_d2_class = classification_rule("FLAT_SLIT_VIS_D2", all_of(is_uvvis, is_d2_flat))
flat_slit_nir_on_class = classification_rule("FLAT_SLIT_NIR_ON", all_of(is_nir, is_flat, is_lamp_on))
flat_slit_nir_off_class = classification_rule("FLAT_SLIT_NIR_OFF", all_of(is_nir, is_flat, is_lamp_off))
wave_slit_vis_class = classification_rule("WAVE_SLIT_VIS", all_of(is_uvvis, is_arc, through_slit))
wave_slit_nir_class = classification_rule("WAVE_SLIT_NIR", all_of(is_nir, is_arc, through_slit))

# --- Flux standards --------------------------------------------------------------------------------------------
std_flux_stare_vis_class = classification_rule("STD_FLUX_STARE_VIS", all_of(is_uvvis, is_flux_standard, is_stare))
std_flux_stare_nir_class = classification_rule("STD_FLUX_STARE_NIR", all_of(is_nir, is_flux_standard, is_stare))
std_flux_nod_vis_class = classification_rule("STD_FLUX_NOD_VIS", all_of(is_uvvis, is_flux_standard, is_nod))
std_flux_nod_nir_class = classification_rule("STD_FLUX_NOD_NIR", all_of(is_nir, is_flux_standard, is_nod))
std_flux_offset_vis_class = classification_rule(
    "STD_FLUX_OFFSET_VIS", all_of(is_uvvis, is_flux_standard, is_offset)
)
std_flux_offset_nir_class = classification_rule("STD_FLUX_OFFSET_NIR", all_of(is_nir, is_flux_standard, is_offset))

# --- Telluric standards ----------------------------------------------------------------------------------------
std_tell_stare_vis_class = classification_rule(
    "STD_TELL_STARE_VIS", all_of(is_uvvis, is_telluric_standard, is_stare)
)
std_tell_stare_nir_class = classification_rule(
    "STD_TELL_STARE_NIR", all_of(is_nir, is_telluric_standard, is_stare)
)
std_tell_nod_vis_class = classification_rule("STD_TELL_NOD_VIS", all_of(is_uvvis, is_telluric_standard, is_nod))
std_tell_nod_nir_class = classification_rule("STD_TELL_NOD_NIR", all_of(is_nir, is_telluric_standard, is_nod))
std_tell_offset_vis_class = classification_rule(
    "STD_TELL_OFFSET_VIS", all_of(is_uvvis, is_telluric_standard, is_offset)
)
std_tell_offset_nir_class = classification_rule(
    "STD_TELL_OFFSET_NIR", all_of(is_nir, is_telluric_standard, is_offset)
)

# --- Science ---------------------------------------------------------------------------------------------------
object_stare_vis_class = classification_rule("OBJECT_STARE_VIS", all_of(is_uvvis, is_object, is_stare))
object_stare_nir_class = classification_rule("OBJECT_STARE_NIR", all_of(is_nir, is_object, is_stare))
object_nod_vis_class = classification_rule("OBJECT_NOD_VIS", all_of(is_uvvis, is_object, is_nod))
object_nod_nir_class = classification_rule("OBJECT_NOD_NIR", all_of(is_nir, is_object, is_nod))
object_offset_vis_class = classification_rule("OBJECT_OFFSET_VIS", all_of(is_uvvis, is_object, is_offset))
object_offset_nir_class = classification_rule("OBJECT_OFFSET_NIR", all_of(is_nir, is_object, is_offset))
object_map_vis_class = classification_rule("OBJECT_MAP_VIS", all_of(is_uvvis, is_object, is_map))
object_map_nir_class = classification_rule("OBJECT_MAP_NIR", all_of(is_nir, is_object, is_map))
sky_offset_vis_class = classification_rule("SKY_OFFSET_VIS", all_of(is_uvvis, is_sky))
sky_offset_nir_class = classification_rule("SKY_OFFSET_NIR", all_of(is_nir, is_sky))

# --- Products of calibrations ----------------------------------------------------------------------------------
MASTER_BIAS_VIS = product("MASTER_BIAS_VIS")
MASTER_DARK_VIS = product("MASTER_DARK_VIS")
MASTER_DARK_NIR = product("MASTER_DARK_NIR")
LINEARITY_COEFF_VIS = product("LINEARITY_COEFF_VIS")
LINEARITY_COEFF_NIR = product("LINEARITY_COEFF_NIR")
BP_MAP_NL_VIS = product("BP_MAP_NL_VIS")
BP_MAP_NL_NIR = product("BP_MAP_NL_NIR")
DISP_TAB_VIS = product("DISP_TAB_VIS")
DISP_TAB_NIR = product("DISP_TAB_NIR")
ORDER_TAB_CENTR_VIS = product("ORDER_TAB_CENTR_VIS")
ORDER_TAB_CENTR_NIR = product("ORDER_TAB_CENTR_NIR")
MASTER_FLAT_VIS = product("MASTER_FLAT_VIS")
MASTER_FLAT_NIR = product("MASTER_FLAT_NIR")
ORDER_TAB_EDGES_VIS = product("ORDER_TAB_EDGES_VIS")
ORDER_TAB_EDGES_NIR = product("ORDER_TAB_EDGES_NIR")
DISP_TAB_2D_VIS = product("DISP_TAB_2D_VIS")
DISP_TAB_2D_NIR = product("DISP_TAB_2D_NIR")
DISP_IMAGE_VIS = product("DISP_IMAGE_VIS")
DISP_IMAGE_NIR = product("DISP_IMAGE_NIR")
RESP_TAB_VIS = product("RESP_TAB_VIS")
RESP_TAB_NIR = product("RESP_TAB_NIR")
resp_archive_vis_class = product("RESP_ARCHIVE_VIS")
resp_archive_nir_class = product("RESP_ARCHIVE_NIR")

# --- Products of exposures on sky ------------------------------------------------------------------------------
FLUX_SLIT_ORDER1D_VIS = product("FLUX_SLIT_ORDER1D_VIS")
FLUX_SLIT_ORDER1D_NIR = product("FLUX_SLIT_ORDER1D_NIR")
FLUX_SLIT_TRACE_VIS = product("FLUX_SLIT_TRACE_VIS")
FLUX_SLIT_TRACE_NIR = product("FLUX_SLIT_TRACE_NIR")
SCI_SLIT_ORDER1D_VIS = product("SCI_SLIT_ORDER1D_VIS")
SCI_SLIT_ORDER1D_NIR = product("SCI_SLIT_ORDER1D_NIR")
SCI_SLIT_SKYSUB_VIS = product("SCI_SLIT_SKYSUB_VIS")
SCI_SLIT_SKYSUB_NIR = product("SCI_SLIT_SKYSUB_NIR")
SCI_SLIT_SKYMODEL_VIS = product("SCI_SLIT_SKYMODEL_VIS")
SCI_SLIT_SKYMODEL_NIR = product("SCI_SLIT_SKYMODEL_NIR")
LINE_CHECK_VIS = product("LINE_CHECK_VIS")
LINE_CHECK_NIR = product("LINE_CHECK_NIR")

# --- Static calibrations ---------------------------------------------------------------------------------------
bp_map_ref_vis_class = product("BP_MAP_REF_VIS")
bp_map_ref_nir_class = product("BP_MAP_REF_NIR")
spectral_format_vis_class = product("SPECTRAL_FORMAT_VIS")
spectral_format_nir_class = product("SPECTRAL_FORMAT_NIR")
arc_line_list_vis_class = product("ARC_LINE_LIST_VIS")
arc_line_list_nir_class = product("ARC_LINE_LIST_NIR")
sky_line_list_class = product("SKY_LINE_LIST")
flux_std_catalog_class = product("FLUX_STD_CATALOG")
extcoeff_table_class = product("EXTCOEFF_TABLE")
telluric_transmission_class = product("TELLURIC_TRANSMISSION")
