"""Masters stay in memory for the frames of one call, not longer."""

import numpy as np

from soxs_recipes.data.frame import Frame, FrameMeta
from soxs_recipes.fits_files import image_hdus, write_product
from soxs_recipes.recipes.framework.preparation import forget_masters, read_master


def _master(path, value):
    shape = (4, 5)
    frame = Frame(
        np.full(shape, value, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.int32), FrameMeta()
    )
    return write_product(path, image_hdus(frame))


def test_a_master_is_read_once_and_again_when_it_was_changed(tmp_path):
    path = _master(tmp_path / "m.fits", 1.0)
    first = read_master(path)
    assert read_master(path) is first
    _master(path, 2.0)
    assert read_master(path).frame.data[0, 0] == 2.0


def test_masters_of_other_calls_are_forgotten(tmp_path):
    kept, other = (_master(tmp_path / name, 1.0) for name in ("kept.fits", "other.fits"))
    first, second = read_master(kept), read_master(other)
    forget_masters(but=[kept])
    assert read_master(kept) is first
    assert read_master(other) is not second
