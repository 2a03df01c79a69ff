"""Declarations as the cascade needs them: tags and counts, no science."""

from soxs_recipes.recipes.framework.declarations import CalibrationInput, Declaration, Parameter, Product, RawInput


def raw(tag, **more):
    more.setdefault("required", False)
    return RawInput(tag, "frames", one_of="main", **more)


def calibration(tag, **more):
    return CalibrationInput(tag, "a calibration", **more)


def declaration(name, raws, products, calibrations=(), version=1):
    return Declaration(
        name, "does something", "Does something.", tuple(raws),
        tuple(Product(tag, "a product") for tag in products), tuple(calibrations),
        (Parameter("level", int, 3, "", "Some level."),), algorithm_version=version,
    )  # fmt: skip


DETECTOR = [
    calibration("MASTER_BIAS_<ARM>", detector="ccd"),
    calibration("MASTER_DARK_<ARM>"),
    calibration("BP_MAP_RP_<ARM>"),
]


def lamp(stem):
    return [
        raw(f"{stem}_<ARM>", detector="ccd"),
        raw(f"{stem}_<ARM>_ON", detector="infrared"),
        RawInput(f"{stem}_<ARM>_OFF", "lamp off", required=False, detector="infrared"),
    ]


OBJECT_INPUTS = [*DETECTOR, calibration("MASTER_FLAT_<ARM>"), calibration("ORDER_TAB_EDGES_<ARM>"),
                 calibration("ORDER_TAB_CENTR_<ARM>"), calibration("DISP_TAB_2D_<ARM>"),
                 calibration("DISP_TAB_<ARM>"), calibration("RESP_TAB_<ARM>"),
                 calibration("SKY_LINE_LIST", static=True)]  # fmt: skip
SUBTRACTED = ["<KIND>_SLIT_SKYSUB_<ARM>", "<KIND>_SLIT_SKYMODEL_<ARM>"]
SPECTRA = ["<KIND>_SLIT_ORDER1D_<ARM>", "<KIND>_SLIT_MERGE1D_<ARM>"]
STARE_TAGS = ("STD_FLUX_STARE_<ARM>", "STD_TELL_STARE_<ARM>", "OBJECT_STARE_<ARM>")
DECLARATIONS = {
    d.name: d
    for d in (
        declaration("soxs_mbias", [raw("BIAS_<ARM>")], ["MASTER_BIAS_<ARM>", "BP_MAP_RP_<ARM>"]),
        declaration("soxs_mdark", [raw("DARK_<ARM>")], ["MASTER_DARK_<ARM>", "BP_MAP_RP_<ARM>"], DETECTOR[:1]),
        declaration("soxs_disp_solution", lamp("WAVE_PIN"), ["DISP_TAB_<ARM>"], DETECTOR),
        declaration(
            "soxs_order_centres", lamp("ORDERDEF"), ["ORDER_TAB_CENTR_<ARM>"],
            [*DETECTOR, calibration("DISP_TAB_<ARM>")],
        ),
        declaration(
            "soxs_mflat",
            [*lamp("FLAT_SLIT"), raw("FLAT_SLIT_<ARM>_QTH", detector="ccd"),
             raw("FLAT_SLIT_<ARM>_D2", detector="ccd")],
            ["MASTER_FLAT_<ARM>", "ORDER_TAB_EDGES_<ARM>"],
            [*DETECTOR, calibration("ORDER_TAB_CENTR_<ARM>"), calibration("DISP_TAB_<ARM>")],
        ),
        declaration(
            "soxs_spatial_solution", lamp("WAVE_MPH"), ["DISP_TAB_2D_<ARM>", "DISP_IMAGE_<ARM>"],
            [*DETECTOR, calibration("DISP_TAB_<ARM>", required=True, made_by="soxs_disp_solution"),
             calibration("MASTER_FLAT_<ARM>"), calibration("ORDER_TAB_EDGES_<ARM>")],
        ),
        declaration(
            "soxs_stare", [raw(tag) for tag in STARE_TAGS], [*SPECTRA, *SUBTRACTED], OBJECT_INPUTS,
        ),
        declaration("soxs_nod", [raw("STD_FLUX_NOD_<ARM>"), raw("OBJECT_NOD_<ARM>")], SPECTRA, OBJECT_INPUTS),
        declaration(
            "soxs_offset",
            [raw("STD_FLUX_OFFSET_<ARM>"), raw("OBJECT_OFFSET_<ARM>"), raw("SKY_OFFSET_<ARM>")],
            SPECTRA, OBJECT_INPUTS,
        ),
        declaration(
            "soxs_straighten", [raw(tag) for tag in SUBTRACTED], ["<KIND>_SLIT_MERGE2D_<ARM>"], OBJECT_INPUTS
        ),
        declaration("soxs_response", [raw("FLUX_SLIT_ORDER1D_<ARM>")], ["RESP_TAB_<ARM>"]),
    )
}  # fmt: skip
