from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.integration.end_products import keep_products


@pytest.fixture
def product(tmp_path):
    def write(name, target="SN2026abc", level=1.0):
        path = tmp_path / "work" / name
        path.parent.mkdir(exist_ok=True)
        hdu = fits.PrimaryHDU(np.full((2, 2), level, np.float32))
        hdu.header["OBJECT"] = target
        hdu.writeto(path, overwrite=True)
        return path

    return write


NOW = datetime(2026, 3, 2, 4, 5, 6, tzinfo=UTC)


def test_results_stand_by_object_below_the_date(tmp_path, product):
    one, other = product("a.fits"), product("b.fits", target="NGC 1/../2")
    kept = keep_products([one, other, tmp_path / "gone.fits"], tmp_path / "end", now=NOW)
    root = tmp_path / "end" / "2026-03-02T04_05_06"
    assert kept == {one: root / "SN2026abc" / "a.fits", other: root / "NGC_1_.._2" / "b.fits"}
    assert kept[one].read_bytes() == one.read_bytes()


def test_the_same_file_stays_and_another_gets_a_number(tmp_path, product):
    first = keep_products([product("a.fits")], tmp_path / "end", "run")
    assert keep_products([product("a.fits")], tmp_path / "end", "run") == first
    (again,) = keep_products([product("a.fits", level=2.0)], tmp_path / "end", "run").values()
    assert again == tmp_path / "end" / "run" / "SN2026abc" / "a_2.fits"
    assert fits.getdata(next(iter(first.values())))[0, 0] == 1.0
    assert fits.getdata(again)[0, 0] == 2.0


def test_links_lead_to_the_product(tmp_path, product):
    file = product("a.fits")
    (link,) = keep_products([file], tmp_path / "end", "run", "link").values()
    assert link.is_symlink()
    assert link.resolve() == file
    # A link to nowhere is not written over.
    elsewhere = file.rename(tmp_path / "a.fits")
    (other,) = keep_products([elsewhere], tmp_path / "end", "run").values()
    assert other == link.with_name("a_2.fits")
    assert other.read_bytes() == elsewhere.read_bytes()


def test_what_will_not_do_is_told(tmp_path, product):
    with pytest.raises(InputError, match="must be one of copy, link"):
        keep_products([], tmp_path, mode="move")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        keep_products([product("a.fits")], tmp_path / "file")
