"""Light along the slit of a frame: means are those of the truth, errors those of the scatter."""

import numpy as np

from soxs_recipes.reduction.extraction.slit_light import frame_slit_light


def frame(seed):
    """A source at +1.5 arcsec of FWHM 1.2 in an order 72 px wide, noise of two kinds."""
    rng = np.random.default_rng(seed)
    slit = np.full((500, 80), np.nan)
    slit[:, 4:76] = np.linspace(-6.0, 6.0, 72)
    truth = 20.0 * np.exp(-4 * np.log(2) * ((slit - 1.5) / 1.2) ** 2)
    variance = np.where(np.arange(500)[:, None] % 2, 4.0, 100.0) * np.ones((500, 80))
    data = np.nan_to_num(truth) + np.sqrt(variance) * rng.standard_normal(truth.shape)
    variance[3, 20:40], data[3, 20:40] = np.inf, 1e6
    data[7, 30], variance[9, 31] = np.nan, 0.0
    return data, variance, slit, truth


def test_means_and_errors_are_true():
    pulls = []
    for seed in range(20):
        data, variance, slit, truth = frame(seed)
        centres, light, error = frame_slit_light(data, variance, slit, 5.0)
        assert centres.size == light.size == 51
        assert np.isfinite(light).all()
        for cell, value, sigma in zip(centres, light, error, strict=True):
            own = np.rint(slit[0] / 0.2) == np.rint(cell / 0.2)
            own &= np.abs(np.nan_to_num(slit[0], nan=9.0)) < 5.0
            pulls.append((value - truth[0, own].mean()) / sigma)
    pulls = np.array(pulls)
    assert pulls.size == 1020
    assert abs(pulls.mean()) < 4 / np.sqrt(pulls.size)
    assert abs(pulls.std() - 1) < 4 / np.sqrt(2 * pulls.size)


def test_nothing_is_known_beyond_the_slit():
    data, variance, slit, _ = frame(1)
    centres, light, error = frame_slit_light(data, variance, slit, 7.0)
    outside = np.abs(centres) > 6.15
    assert outside.sum() == 10
    assert np.isnan(light[outside]).all()
    assert np.isnan(error[outside]).all()
    assert np.isfinite(light[~outside]).all()
