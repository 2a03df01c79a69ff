"""Known changes of raw frames have their known effect on prepared ones, and no other."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.preparation import prepare_frame
from soxs_recipes.simulator import simulate_frame


@pytest.mark.parametrize(("arm", "binning"), [("VIS", (2, 2)), ("NIR", (1, 1))])
def test_a_bias_level_is_taken_off_whatever_it_is(tmp_path, arm, binning):
    data, header, _ = simulate_frame("science", arm, seed=3, exposure_time=300.0, binning=binning)
    assert data.max() < 65535 - 64
    frames = []
    for level in (0, 64):
        path = tmp_path / f"SOXS.2026-03-02T01:00:00.{level:03d}.fits"
        fits.PrimaryHDU(data + np.uint16(level), header).writeto(path)
        frames.append(prepare_frame(path, load_instrument().arm(arm)))
    plain, raised = frames
    usable = plain.usable & raised.usable
    assert usable.mean() > 0.95
    change = (raised.data - plain.data)[usable] / np.sqrt(plain.variance[usable])
    assert np.abs(change).max() < 0.02
    assert np.allclose(raised.variance[usable], plain.variance[usable], rtol=0.01)
    assert np.array_equal(plain.quality, raised.quality)
