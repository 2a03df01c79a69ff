"""Classification rules say what `instrument/classify.py` says, of raw frames as the instrument writes them."""

from functools import cache

import pytest
from edps_organiser import all_rules, classify
from edps_standin import HeaderOnlyFile
from simulated_headers import night_headers

from soxs_recipes.cascade.associate import agree
from soxs_recipes.cascade.frames import night_of
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.classify import classify as classify_header
from soxs_recipes.instrument.keywords import header_keywords
from soxs_recipes.instrument.raw_types import ARM_NAMES, MASK_SLITS, MASK_TECHNIQUES, MODE_TECHNIQUES, RAW_TYPES
from soxs_recipes.recipes.framework.declarations import resolved_tag
from soxs_recipes.recipes.framework.registry import all_declarations

# Plans that hold every raw type there is a simulation of.
PLANS = ("full", "nod", "offset-sky", "generic-offset", "mapping", "user-arcs", "lingain")
# Darks of the UV-VIS are classified here and used by no task.
UNUSED = {"DARK_VIS"}
SWITCH_OFF = {"VIS": "ESO INS VISE", "NIR": "ESO INS NISE"}


def as_edps_sees_it(header, name="frame.fits"):
    """A FITS header with EDPS's spelling of keywords."""
    return HeaderOnlyFile(
        name, {key.removeprefix("ESO ").replace(" ", "."): value for key, value in header.items()}
    )


def tag_of(workflow, header):
    rule = classify(as_edps_sees_it(header), all_rules(workflow))
    return rule.tag if rule else ""


def written_headers():
    """Headers of every row of the table of raw types, in both arms, lamps on and off."""
    for raw in RAW_TYPES:
        for arm in ("VIS", "NIR"):
            if raw.camera:
                continue
            techniques = {MODE_TECHNIQUES[mode]: "SLIT1.0" for mode in raw.modes}
            techniques |= {MASK_TECHNIQUES[mask]: MASK_SLITS[mask] for mask in raw.masks}
            for technique, slit in (techniques or {"ECHELLE,SLIT": "SLIT1.0", "IMAGE": "SLIT1.0"}).items():
                for kind in (*raw.types, *(text for *_, text in raw.lamps)):
                    for tech in {technique, "IMAGE" if raw.has_state else technique}:
                        yield {
                            "INSTRUME": "SOXS", "MJD-OBS": 61000.0, "EXPTIME": 1.0, "ESO SEQ ARM": arm,
                            "ESO DPR CATG": "CALIB", "ESO DPR TYPE": kind, "ESO DPR TECH": tech,
                            f"{SWITCH_OFF[arm]} NAME": slit,
                        }  # fmt: skip


def test_the_table_of_raw_types(workflow):
    headers = list(written_headers())
    assert len(headers) > 100
    wrong = [
        (header, found, expected)
        for header in headers
        for found, expected in [(tag_of(workflow, header), classify_header(header).tag)]
        if found != expected and expected not in UNUSED
    ]
    assert wrong == []


@cache
def plain_headers(plan):
    return [dict(header) for _, header in night_headers(plan)]


@pytest.mark.parametrize("plan", PLANS)
def test_frames_of_simulated_nights(workflow, plan):
    headers = plain_headers(plan)
    assert headers
    assert [tag_of(workflow, header) for header in headers] == [classify_header(header).tag for header in headers]


def test_simulated_nights_hold_most_raw_types(workflow):
    seen = {tag_of(workflow, header) for plan in PLANS for header in plain_headers(plan)}
    known = {rule.tag for rule in all_rules(workflow) if not rule.is_product}
    # Telluric standards are not simulated, nor flats whose lamp is not told.
    assert {tag for tag in known - seen if not tag.startswith("STD_TELL")} == {"FLAT_SLIT_VIS"}


@pytest.mark.parametrize(
    "changes",
    [
        {"ESO INS VISE SWSIM": True},
        {"INSTRUME": "XSHOOTER"},
        {"ESO PRO CATG": "SOMETHING"},
        {"ESO DPR TYPE": "LAMP,FLAT", "ESO DPR TECH": "ECHELLE,SLIT", "ESO INS VISE NAME": "BLANK"},
        {"ESO DPR TYPE": "SKY,FLAT", "ESO DPR TECH": "IMAGE"},
    ],
    ids=str,
)
def test_what_is_of_no_use_is_not_classified(workflow, changes):
    header = {
        "INSTRUME": "SOXS", "MJD-OBS": 61000.0, "EXPTIME": 0.0, "ESO SEQ ARM": "VIS", "ESO DPR CATG": "CALIB",
        "ESO DPR TYPE": "BIAS", "ESO DPR TECH": "IMAGE",
    }  # fmt: skip
    assert tag_of(workflow, header) == "BIAS_VIS"
    assert tag_of(workflow, header | changes) == ""


def test_products_are_known_by_their_category(workflow):
    products = [rule for rule in all_rules(workflow) if rule.is_product]
    declared = {
        resolved_tag(entry.tag, arm, kind)
        for d in all_declarations()
        for entry in (*d.products, *d.calibrations)
        for arm in ("VIS", "NIR")
        for kind in ("SCI", "FLUX", "TELL")
    }
    assert len(products) >= 30
    for rule in products:
        assert rule.tag in declared
        assert tag_of(workflow, {"INSTRUME": "SOXS", "ESO PRO CATG": rule.tag}) == rule.tag
        assert tag_of(workflow, {"INSTRUME": "XSHOOTER", "ESO PRO CATG": rule.tag}) == ""


def test_nights_arms_and_exposure_times_are_those_of_the_cascade(workflow):
    rules = workflow.modules["soxs_rules"]
    moments = [61000.0 + hours / 24.0 for hours in range(-30, 60)]
    files = [as_edps_sees_it({"MJD-OBS": mjd}) for mjd in moments]
    for ours, f in zip(moments, files, strict=True):
        same = [night_of(other) == night_of(ours) for other in moments]
        assert [rules.same_night(f, other) for other in files] == same
        assert any(same)
        assert not all(same)
    assert set(ARM_NAMES["VIS"]) == set(rules.UVVIS_NAMES)
    assert set(ARM_NAMES["NIR"]) == set(rules.NIR_NAMES)
    times = (None, 0.0, 0.04, 0.06, 1.0, 1.04, 10.0, 10.09, 10.2, 300.0, 302.9, 303.1)
    for ours in times:
        f = as_edps_sees_it({"EXPTIME": ours})
        found = [rules.same_exptime(f, as_edps_sees_it({"EXPTIME": other})) for other in times]
        assert found == [agree("exptime", ours, other) for other in times]
        assert any(found)


def test_keywords_are_those_of_the_instrument(workflow):
    instrument = load_instrument()
    known = {keyword for name in instrument.keywords for keyword in header_keywords(instrument, name)}
    spelt = {
        name: value
        for name, value in vars(workflow.modules["soxs_keywords"]).items()
        if not name.startswith("_") and isinstance(value, str)
    }
    assert len(spelt) >= 20
    for name, value in spelt.items():
        keyword = f"ESO {value.upper().replace('.', ' ')}" if "." in value else value.upper()
        assert keyword in known, name
