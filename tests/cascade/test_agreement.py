"""The table of the cascade and the declarations of the recipes say the same."""

import pytest

from soxs_recipes.cascade.night import recipe_declarations
from soxs_recipes.cascade.tasks import TASKS
from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.declarations import resolved_tag
from soxs_recipes.recipes.steps.object_declarations import USER_ARC_CALIBRATIONS

# What a person may give and the cascade does not have yet: mflat comes before the 2-D solution, which needs its
# edges; a standard is what a response is made from.
LATER = {("flat", "DISP_TAB_2D")}
LATER |= {(f"standard{mode}", tag) for mode in ("", "_nod", "_offset") for tag in ("RESP_TAB", "RESP_ARCHIVE")}
# A standard's trace, for targets that are not seen, is offered as FLUX_SLIT_TRACE; standards are seen.
LATER |= {(name, "SCI_SLIT_TRACE") for name in ("standard", "telluric", "science")}
# The cascade checks extracted spectra; what raw exposures would need as well, spectra have behind them.
LATER |= {
    ("line_check", tag)
    for tag in ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT", "ORDER_TAB_EDGES", "ORDER_TAB_CENTR", "DISP_TAB",
                "DISP_TAB_2D", "DISP_IMAGE", "BP_MAP_RP", "LINEARITY_COEFF", "BP_MAP_NL")
}  # fmt: skip
# The cascade straightens exposures, which are detrended; raw lamps a person gives.
LATER |= {("straighten", tag) for tag in ("MASTER_BIAS", "MASTER_DARK")}
ARMS = load_instrument().arms


def serves(entry, arm):
    return not entry.detector or (entry.detector == "ccd") == arm.detector.has_bias


PAIRS = [
    pytest.param(task, arm, id=f"{task.name}-{arm.name}")
    for task in TASKS
    for arm in ARMS
    if task.recipe in recipe_declarations() and serves(task, arm)
]


def declared_raws(declaration, arm):
    return {
        resolved_tag(raw.tag, arm.name, kind)
        for raw in declaration.raws
        if raw.serves(arm)
        for kind in ("SCI", "FLUX")
    }


def test_recipes_are_there():
    assert len(PAIRS) >= 3


@pytest.mark.parametrize(("task", "arm"), PAIRS)
def test_main_frames_are_what_the_recipe_takes(task, arm):
    declaration = recipe_declarations()[task.recipe]
    raws = declared_raws(declaration, arm)
    if not raws or task.relabel:
        return
    assert {resolved_tag(tag, arm.name) for tag in task.main} & raws


@pytest.mark.parametrize(("task", "arm"), PAIRS)
def test_every_calibration_that_a_recipe_takes_is_looked_for(task, arm):
    declaration = recipe_declarations()[task.recipe]
    if not declared_raws(declaration, arm):
        return
    offered = {
        resolved_tag(tag, arm.name)
        for association in task.associations
        if serves(association, arm)
        for rung in association.rungs
        for tag in rung.tags
    }
    offered |= {resolved_tag(tag, arm.name) for tag in task.companions}
    wanted = {resolved_tag(c.tag, arm.name) for c in declaration.calibrations if c.serves(arm) and not c.static}
    wanted |= {resolved_tag(r.tag, arm.name) for r in declaration.raws if r.serves(arm) and r.tag.endswith("_OFF")}
    later = {f"{tag}_{arm.name}" for name, tag in LATER if name == task.name}
    # Arcs through the pinhole are those of the afternoon unless a person says otherwise.
    by_hand = {resolved_tag(c.tag, arm.name) for c in USER_ARC_CALIBRATIONS if "PIN" in c.tag}
    assert wanted - offered - later - by_hand == set()


@pytest.mark.parametrize(("task", "arm"), PAIRS)
def test_frames_that_must_agree_are_grouped_so(task, arm):
    facts = {"READ_MODE_ID": "read_mode", "SLIT": "slit", "EXPTIME": "exptime", "BINNING_X": "binning",
             "BINNING_Y": "binning"}  # fmt: skip
    mains = {resolved_tag(tag, arm.name) for tag in task.main}
    for raw in recipe_declarations()[task.recipe].raws:
        if raw.serves(arm) and resolved_tag(raw.tag, arm.name) in mains:
            assert {facts[keyword] for keyword in raw.agree} <= set(task.group)
