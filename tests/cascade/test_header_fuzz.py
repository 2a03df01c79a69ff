"""Whatever a header holds, the frame is either described or unusable for a reason, and the night goes on."""

import os

import pytest
from fake_night import BLOCK, MJD0, cards_of, header_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soxs_recipes.cascade.scan import scan_folder

SCIENCE = ("SCIENCE", "OBJECT", "ECHELLE,SLIT,STARE")
KEYWORDS = [
    "INSTRUME", "OBJECT", "EXPTIME", "MJD-OBS", "ESO DPR CATG", "ESO DPR TYPE", "ESO DPR TECH", "ESO SEQ ARM",
    "ESO TPL START", "ESO TPL EXPNO", "ESO DET BINX", "ESO DET BINY", "ESO DET READ CURID", "ESO INS VISE NAME",
    "ESO DET OUT1 CONAD", "ESO DET CHIP RON", "NAXIS1", "NAXIS2", "BITPIX", "NAXIS",
]  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="'"), max_size=30),
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "night"
    path.mkdir()
    return path


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(st.sampled_from(KEYWORDS), VALUES, min_size=1, max_size=4))
def test_odd_values(folder, changes):
    cards = cards_of("VIS", SCIENCE, mjd=MJD0) | changes
    write(folder, header_bytes({key: value for key, value in cards.items() if value is not None}))
    check(folder)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_bytes(folder, data):
    header = bytearray(header_bytes(cards_of("VIS", SCIENCE, mjd=MJD0)))
    for _ in range(data.draw(st.integers(1, 8))):
        header[data.draw(st.integers(6, len(header) - 1))] = data.draw(st.integers(0, 255))
    write(folder, bytes(header))
    check(folder)


@pytest.mark.parametrize(
    "extra",
    [
        ["hierarch eso lower case = 1"],
        ["LONGSTR = 'part one&'", "CONTINUE  'part two&'", "CONTINUE  'the end'"],
        ["EXPTIME = 10.0", "EXPTIME = 'twice'"],
        ["COMMENT " + "\xe9" * 40],
        [f"HIERARCH ESO FILL K{number} = {number}" for number in range(20_000)],
    ],
)
def test_odd_cards(folder, extra):
    text = header_bytes(cards_of("VIS", SCIENCE, mjd=MJD0)).decode("latin-1").rstrip()[: -len("END")].rstrip()
    text = text.ljust(-(-len(text) // 80) * 80) + "".join(card[:80].ljust(80) for card in extra) + "END".ljust(80)
    write(folder, text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("latin-1"))
    check(folder)


def write(folder, header):
    path = folder / "odd.fits"
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + 908 * 4096 * 2 + BLOCK)
    # Long finished, so that nobody waits for the rest of it.
    os.utime(path, (0, 0))


def check(folder):
    (record,) = scan_folder(folder).frames
    assert bool(record.tag) != bool(record.problem)
    assert "\n" not in record.problem
    if record.tag:
        assert record.facts["exptime"] >= 0
        assert record.facts["night"]
