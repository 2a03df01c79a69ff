import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from soxs_recipes import instrument
from soxs_recipes.errors import InputError
from soxs_recipes.instrument import load_instrument
from soxs_recipes.instrument.load import instrument_from_mappings

FOLDER = Path(instrument.__file__).parent


@pytest.fixture
def documents():
    return [
        yaml.safe_load((FOLDER / name).read_text())
        for name in ("soxs.yaml", "soxs_keywords.yaml", "soxs_defaults.yaml")
    ]


def test_soxs_has_two_arms_with_their_orders():
    soxs = load_instrument("SOXS")
    assert [arm.name for arm in soxs.arms] == ["VIS", "NIR"]
    assert [order.band for order in soxs.arm("VIS").orders] == ["r", "u", "g", "i"]
    assert [order.number for order in soxs.arm("NIR").orders] == list(range(10, 25))
    assert soxs.arm("VIS").detector.science_shape() == (4096, 808)
    assert soxs.arm("VIS").detector.science_shape((2, 1)) == (2048, 808)
    assert soxs.arm("NIR").detector.science_shape() == (2040, 2040)


def test_orders_cover_the_instrument_without_a_hole():
    soxs = load_instrument()
    ranges = sorted((o.wavelength_min_full, o.wavelength_max_full) for arm in soxs.arms for o in arm.orders)
    assert len(ranges) == 19
    reached = ranges[0][1]
    for low, high in ranges[1:]:
        # Between orders 11 and 10 the format itself leaves 10 nm uncovered, in a telluric band.
        assert low <= reached or (reached, low) == (1848.4, 1858.3)
        reached = max(reached, high)
    assert ranges[0][0] <= 350.0
    assert reached >= 2000.0


def test_the_instrument_is_read_once_and_cannot_be_changed():
    soxs = load_instrument("SOXS")
    assert load_instrument("SOXS") is soxs
    with pytest.raises(TypeError):
        soxs.keywords["EXPTIME"] = ("X",)
    with pytest.raises(TypeError):
        soxs.arm("VIS").defaults["a.b"] = 1


def test_wrong_names_list_the_valid_ones():
    with pytest.raises(InputError, match="known: SOXS"):
        load_instrument("HARPS")
    with pytest.raises(InputError, match="VIS, NIR"):
        load_instrument().arm("UVB")


def test_pinholes_are_symmetric_and_nine():
    for arm in load_instrument().arms:
        positions = arm.pinhole_positions
        assert len(positions) == 9
        assert positions[4] == 0.0
        assert all(abs(a + b) < 1e-9 for a, b in zip(positions, positions[::-1], strict=True))


def _set(document, path, value):
    *parents, last = path
    for name in parents:
        document = document[name]
    if value is KeyError:
        del document[last]
    else:
        document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("telescope_area",), "big", "telescope_area must be a number|a finite number"),
        (("telescop_area",), 1.0, r"telescop_area is not an entry; valid here: name, telescope_area"),
        (("altitude",), KeyError, "altitude is missing"),
        (("arms", "VIS", "detector", "has_bias"), 1, r"arms\.VIS\.detector\.has_bias must be true or false"),
        (("arms", "NIR", "detector", "saturation"), -1.0, r"arms\.NIR\.detector\.saturation"),
        (
            ("arms", "NIR", "detector", "read_modes", 0, "gain"),
            None,
            r"read_modes\[0\]\.gain must be a finite number",
        ),
        (("arms", "NIR", "detector", "science_window"), [4, 2044, 4, 4044], "science_window does not lie"),
        (("arms", "NIR", "dispersion_axis"), 2, r"arms\.NIR\.dispersion_axis must be 0 or 1"),
        (("arms", "VIS", "orders", 3, "useful"), [541.0, 431.5], r"arms\.VIS\.orders\.3: the useful range"),
        (("arms", "VIS", "orders", 3, "useful"), [431.5], r"arms\.VIS\.orders\.3\.useful must be a list of 2"),
        (("arms", "VIS", "orders", "x"), {}, r"arms\.VIS\.orders must be a mapping whose keys are numbers"),
        (("arms", "VIS", "slits", "SLIT1.0"), float("nan"), r"arms\.VIS\.slits\.SLIT1\.0"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_path(documents, path, value, message):
    assert instrument_from_mappings(*documents).name == "SOXS"
    broken = copy.deepcopy(documents)
    _set(broken[0], path, value)
    with pytest.raises(InputError, match=message):
        instrument_from_mappings(*broken)


def test_defaults_must_name_every_arm(documents):
    documents[2] = {"soxs_x.limit": {"VIS": 1, "NIR": [1, 2]}}
    soxs = instrument_from_mappings(*documents)
    assert soxs.arm("VIS").defaults["soxs_x.limit"] == 1
    assert soxs.arm("NIR").defaults["soxs_x.limit"] == (1, 2)
    documents[2] = {"soxs_x.limit": {"VIS": 1}}
    with pytest.raises(InputError, match=r"defaults\.soxs_x\.limit\.NIR is missing"):
        instrument_from_mappings(*documents)
    documents[2] = {"limit": {"VIS": 1, "NIR": 1}}
    with pytest.raises(InputError, match=r"defaults\.limit"):
        instrument_from_mappings(*documents)


def test_loading_needs_no_numerics():
    code = (
        "import sys; from soxs_recipes.instrument import load_instrument; load_instrument(); "
        "bad = [m for m in ('numpy', 'scipy', 'astropy', 'matplotlib') if m in sys.modules]; sys.exit(len(bad))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
