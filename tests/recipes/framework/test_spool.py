from __future__ import annotations

import errno

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.errors import InputError, UnprocessableData
from soxs_recipes.recipes.framework import spool
from soxs_recipes.recipes.framework.base import run_recipe
from soxs_recipes.recipes.framework.spool import Shelf, Spool


def hdus(seed: int):
    generator = np.random.default_rng(seed)
    primary = fits.PrimaryHDU(generator.normal(size=(600, 700)).astype(np.float32))
    primary.header["EXTNAME"] = "FLUX"
    primary.header["BUNIT"] = ("electron", "unit")
    quality = fits.ImageHDU(generator.integers(0, 99, (600, 700), dtype=np.int32), name="QUAL")
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(4))], name="TAB")
    return [primary, quality, table]


@pytest.mark.parametrize(("room", "files"), [(0, 2), (2_000_000, 1), (100_000_000, 0)])
def test_what_is_put_comes_back(tmp_path, room, files):
    store = Spool(tmp_path, room)
    waiting = store.put(hdus(1))
    assert len(list(tmp_path.iterdir())) == files
    assert all(path.name.startswith(".soxs-writing-") for path in tmp_path.iterdir())
    back = store.get(waiting)
    assert list(tmp_path.iterdir()) == []
    for ours, original in zip(back, hdus(1), strict=True):
        assert type(ours) is type(original)
        assert np.array_equal(ours.data, original.data)
        assert ours.data.dtype == original.data.dtype or ours.data.dtype.newbyteorder("=") == original.data.dtype
        assert ours.name == original.name
    assert back[0].header["BUNIT"] == "electron"


def test_discard_leaves_nothing(tmp_path):
    store = Spool(tmp_path, 0)
    store.put(hdus(1))
    store.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fails", [False, True])
def test_in_a_recipe(mean_frame, make_raw, tmp_path, monkeypatch, fails):
    monkeypatch.setattr(spool, "HELD_BYTES", 0)
    monkeypatch.setattr(Spool.__init__, "__defaults__", (0,))
    seen = []

    class Large(mean_frame):
        def process(self, inputs, parameters, outputs):
            for index in range(3):
                outputs.add("MEAN_FRAME", hdus(index), object_name=f"n{index}")
            seen.extend(path.name for path in (tmp_path / "out").iterdir())
            if fails:
                raise UnprocessableData("no use")

    frames = [make_raw(f"b{index}.fits") for index in range(3)]
    result = run_recipe(Large, frames, {}, tmp_path / "out")
    assert len(seen) == 6
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ([] if fails else sorted(path.name for path in result.paths))
    if not fails:
        for index, path in enumerate(result.paths):
            with fits.open(path, checksum=True) as written:
                assert np.array_equal(written[0].data, hdus(index)[0].data)
                assert np.array_equal(written["QUAL"].data, hdus(index)[1].data)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("3309568 requested and 1931232 written")  # as numpy tells of it

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be written, the disk is full; free some space"):
        Spool(tmp_path, 0).put(hdus(1))

    class Full:
        def seek(self, place):
            pass

        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    shelf = Shelf(tmp_path)
    shelf.close()
    shelf._file = Full()
    with pytest.raises(InputError, match=f"{tmp_path}: cannot be written, the disk is full; free some space"):
        shelf.put([np.zeros(3)])


def test_arrays_come_back_from_the_shelf(tmp_path):
    rng = np.random.default_rng(3)
    turned = rng.normal(size=(5, 7)).T
    first = [rng.normal(size=(40, 30)).astype(np.float32), None, turned, np.arange(6, dtype=np.int16)]
    second = [np.zeros((0, 3)), np.array([[True, False]]), np.full((3, 3), np.nan)]
    shelf = Shelf(tmp_path)
    places = shelf.put(first), shelf.put(second)
    assert list(tmp_path.iterdir()) == []
    # In any order, as often as wanted.
    for wanted, where in ((second, places[1]), (first, places[0]), (second, places[1])):
        back = shelf.get(where)
        assert len(back) == len(wanted)
        for ours, original in zip(back, wanted, strict=True):
            if original is None:
                assert ours is None
                continue
            assert ours.dtype == original.dtype
            assert np.array_equal(ours, original, equal_nan=original.dtype.kind == "f")
            if ours.size:
                ours[...] = 0  # its own memory
    shelf.close()
