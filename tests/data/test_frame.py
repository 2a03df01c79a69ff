import numpy as np
import pytest

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.quality import UNUSABLE, QualityFlag, describe_quality, is_usable


def zeros(shape=(3, 4)):
    return Frame(np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.int32))


def test_arrays_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        Frame(np.zeros((3, 4)), np.zeros((4, 3)), np.zeros((3, 4), np.int32))


def test_usable_follows_the_bits():
    frame = zeros()
    frame.quality[0, 0] = QualityFlag.COSMIC_RAY
    frame.quality[0, 1] = QualityFlag.NO_DARK
    assert frame.usable.sum() == 11
    assert not frame.usable[0, 0]


def test_replacing_one_array_shares_the_others():
    frame = zeros()
    changed = frame.with_arrays(data=frame.data + 1)
    assert changed.variance is frame.variance
    assert changed.data[0, 0] == 1
    assert frame.data[0, 0] == 0


def test_every_bit_is_described_once_and_fits_31_bits():
    described = describe_quality()
    names = [name for _, name, _ in described]
    assert len(names) == len([flag for flag in QualityFlag if flag]) > 15
    assert len(set(names)) == len(names)
    assert max(bit for bit, _, _ in described) < 31
    assert all(text for _, _, text in described)


def test_informing_bits_do_not_exclude():
    assert is_usable(np.array([QualityFlag.TELLURIC | QualityFlag.NO_FLAT], np.int32)).all()
    assert not is_usable(np.array([UNUSABLE], np.int32)).any()
