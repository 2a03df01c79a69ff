"""The table of raw types and `classify` say the same of what the instrument writes."""

import pytest

from soxs_recipes.instrument.classify import classify
from soxs_recipes.instrument.raw_types import ARM_NAMES, MASK_TECHNIQUES, MODE_TECHNIQUES, RAW_TYPES

SPECTROGRAPHS = {"VIS": True, "NIR": False}


def rows():
    """(raw type, arm, DPR TYPE, DPR TECH, tag) of all that a spectrograph writes."""
    for raw in RAW_TYPES:
        for arm, has_bias in SPECTROGRAPHS.items():
            if raw.camera or not raw.stem or (raw.detector == "ccd" and not has_bias):
                continue
            techniques = {mode: MODE_TECHNIQUES[mode] for mode in raw.modes} or {
                mask: MASK_TECHNIQUES[mask] for mask in raw.masks
            }
            for word, technique in (techniques or {"": "IMAGE" if raw.camera is None else "ECHELLE,SLIT"}).items():
                stem = raw.stem.format(arm=arm, mode=word)
                for text in raw.types:
                    yield arm, text, technique, stem + ("_ON" if raw.has_state and not has_bias else "")
                for _, end, text in raw.lamps if has_bias else ():
                    yield arm, text, technique, stem + end


def header(arm, kind, technique):
    return {
        "INSTRUME": "SOXS",
        "MJD-OBS": 61000.0,
        "EXPTIME": 1.0,
        "ESO SEQ ARM": arm,
        "ESO DPR TYPE": kind,
        "ESO DPR TECH": technique,
        "ESO DPR CATG": "CALIB",
    }


ROWS = sorted(set(rows()))


def test_there_are_as_many_raw_types_as_the_instrument_takes():
    # 21 of the UV-VIS and 18 of the NIR with its lamps on.
    assert len({tag for *_, tag in ROWS}) == 39
    assert len(ROWS) > 60


@pytest.mark.parametrize(("arm", "kind", "technique", "tag"), ROWS)
def test_a_listed_text_makes_its_tag(arm, kind, technique, tag):
    assert classify(header(arm, kind, technique)).tag == tag


@pytest.mark.parametrize("raw", [raw for raw in RAW_TYPES if not raw.stem], ids=lambda raw: raw.types[0])
def test_what_is_of_no_use_has_a_reason(raw):
    found = classify(header("NIR", raw.types[0], "IMAGE"))
    assert found.tag == ""
    assert found.reason.startswith("unusable: ")


def test_every_name_of_an_arm_is_understood():
    names = [(arm, name) for arm, known in ARM_NAMES.items() for name in known]
    assert len(names) >= 10
    assert [classify(header(name, "DARK", "IMAGE")).tag for _, name in names] == [
        f"DARK_{arm}" for arm, _ in names
    ]
