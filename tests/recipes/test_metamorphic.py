"""Known changes of raw frames have their known effect on prepared ones, and no other."""

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.instrument import load_instrument
from soxs_recipes.recipes.framework.preparation import prepare_detailed, prepare_frame
from soxs_recipes.reduction.frames import preparation
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


def test_an_overscan_is_measured_once_a_frame(tmp_path, monkeypatch):
    data, header, _ = simulate_frame("science", "VIS", seed=3, exposure_time=300.0, binning=(2, 2))
    path = tmp_path / "SOXS.2026-03-02T01:00:00.000.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    shapes, plain = [], preparation.overscan_level

    def counted(strip, side):
        shapes.append(strip.shape)
        return plain(strip, side)

    monkeypatch.setattr(preparation, "overscan_level", counted)
    prepared = prepare_detailed(path, load_instrument().arm("VIS"))
    # And so are the levels before the light, with which those behind it are compared.
    amplifiers = prepared.setup.layout.amplifiers
    assert len(shapes) == sum(len([s for s in (one.overscan, one.prescan) if s]) for one in amplifiers) > 0
    assert len(amplifiers) == len([one for one in amplifiers if one.measured is not None])
    assert prepared.report.level == pytest.approx(
        header["ESO DET OUT1 CONAD"] * amplifiers[0].measured.level.mean()
    )
