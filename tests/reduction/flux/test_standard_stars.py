import numpy as np
import pytest

from soxs_recipes.reduction.flux.standard_stars import CatalogueStar, match_star, normalised_name

FAST = CatalogueStar("LTT 3218", ("CD-32 5613", "WD 0839-327"), 130.385125, -32.942472, 2000.0, (-1055.0, 1350.0))
SLOW = CatalogueStar("GD 71", ("WD 0549+158",), 88.115083, 15.887, 2000.0, (77.0, -173.0))
STARS = (SLOW, FAST)
MJD_2026 = 61000.0
NAN = float("nan")


def test_a_fast_star_is_found_where_it_is_now():
    right_ascension, declination = FAST.position(MJD_2026)
    # 26 years at 1.7 arcsec a year.
    assert abs(declination - FAST.declination) * 3600 == pytest.approx(35.0, abs=1.5)
    match = match_star(STARS, right_ascension, declination, MJD_2026, radius=5.0)
    assert (match.star, match.by) == (FAST, "position")
    assert match.separation < 0.1
    # Mutation: a star that did not move would not be found halfway.
    halfway = (FAST.right_ascension, FAST.declination + 17.0 / 3600)
    assert match_star(STARS, *halfway, MJD_2026, radius=5.0) is None


def test_catalogue_coordinates_in_the_header_serve_too():
    match = match_star(STARS, FAST.right_ascension, FAST.declination, MJD_2026, radius=5.0)
    assert match.star is FAST


@pytest.mark.parametrize("name", ["LTT3218", "ltt 3218", "CD-32 5613", "cd-325613", "CD_32_5613", "WD0839-327"])
def test_names_serve_when_positions_do_not(name):
    match = match_star(STARS, NAN, NAN, NAN, [name])
    assert (match.star, match.by) == (FAST, "name")
    assert np.isnan(match.separation)
    assert match_star(STARS, 10.0, 10.0, MJD_2026, ["", name]).star is FAST


def test_position_beats_name():
    assert match_star(STARS, SLOW.right_ascension, SLOW.declination, MJD_2026, ["LTT3218"]).star is SLOW


def test_nothing_fits():
    assert match_star(STARS, 10.0, 10.0, MJD_2026, ["SN 2026abc", ""]) is None
    assert match_star(STARS, NAN, NAN, NAN, []) is None


def test_separation_across_the_zero_of_right_ascension():
    star = CatalogueStar("X", (), 0.0005, 0.0, 2000.0, (0.0, 0.0))
    assert match_star([star], 359.9995, 0.0, NAN).separation == pytest.approx(3.6, abs=0.01)


def test_names_keep_letters_and_digits():
    assert normalised_name("CD-32 5613") == "CD325613"
