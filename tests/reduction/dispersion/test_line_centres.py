import numpy as np
import pytest

from soxs_recipes.reduction.dispersion.line_centres import PlacePrior, WidthPrior, fit_lines, smooth_widths


def grid_of_spots(count=900, pitch=18.0, seed=3):
    random = np.random.default_rng(seed)
    side = int(np.sqrt(count))
    gx, gy = np.meshgrid(20.0 + pitch * np.arange(side), 20.0 + pitch * np.arange(side))
    x = gx.ravel() + random.uniform(-0.5, 0.5, side**2)
    y = gy.ravel() + random.uniform(-0.5, 0.5, side**2)
    shape = (int(pitch * side + 40),) * 2
    return x, y, shape, random


@pytest.mark.parametrize("fwhm", [1.4, 2.1, 3.5])
def test_centres_reach_the_photon_limit_without_pixel_phase_error(spots, fwhm):
    spot_image, exposed = spots
    x, y, shape, random = grid_of_spots()
    data, variance = exposed(spot_image(shape, x, y, np.full(x.size, 4000.0), fwhm / 2.3548) + 10.0, random, 4.0)
    start = random.normal(0.0, 0.3, (2, x.size))
    usable = np.ones(shape, dtype=bool)
    first = fit_lines(data, variance, usable, x + start[0], y + start[1])
    widths = smooth_widths(first, np.ones(x.size), x, y)
    fits = fit_lines(data, variance, usable, first.x, first.y, fwhm=fwhm, width_prior=widths)
    assert len(fits) == 900
    assert fits.good.mean() > 0.998
    good = fits.good
    for error, sigma, phase in (
        (fits.x - x, fits.x_error, x - np.rint(x)),
        (fits.y - y, fits.y_error, y - np.rint(y)),
    ):
        pull = (error / sigma)[good]
        assert abs(pull.mean()) < 4.0 / np.sqrt(pull.size)
        assert pull.std() == pytest.approx(1.0, abs=0.08)
        # A centroid error that depends on the pixel phase would correlate with sin(2 pi phase).
        wave = np.sin(2.0 * np.pi * phase[good])
        assert abs((error[good] * wave).mean() * 2.0) < 4.0 * error[good].std() / np.sqrt(good.sum())
        if fwhm < 2.2:
            assert error[good].std() < 0.02
    assert np.median(fits.fwhm[good]) == pytest.approx(fwhm, rel=0.01)
    assert np.median(fits.flux[good]) == pytest.approx(4000.0, rel=0.01)


def test_a_centroid_would_not_pass(spots):
    """The check above catches what a plain centroid in a small box does to undersampled spots."""
    spot_image, _ = spots
    x, y, shape, _ = grid_of_spots(100)
    image = spot_image(shape, x, y, np.full(x.size, 4000.0), 0.6)
    offset = np.arange(-1, 2)
    rows = np.rint(y).astype(int)[:, None, None] + offset[None, :, None]
    columns = np.rint(x).astype(int)[:, None, None] + offset[None, None, :]
    box = image[rows, columns]
    centroid = (box * columns).sum(axis=(1, 2)) / box.sum(axis=(1, 2))
    assert np.std(centroid - x) > 0.02


def test_neighbours_five_pixels_away_do_not_pull(spots):
    spot_image, exposed = spots
    random = np.random.default_rng(5)
    x = np.repeat(20.0 + 40.0 * np.arange(20), 9) + np.tile(4.4 * np.arange(9), 20) + 0.3
    y = 30.0 + np.tile(0.6 * np.arange(9), 20) + np.repeat(random.uniform(0, 1, 20), 9)
    flux = 10.0 ** random.uniform(3.5, 4.5, x.size)
    data, variance = exposed(spot_image((60, 900), x, y, flux, 0.95) + 5.0, random)
    fits = fit_lines(data, variance, np.ones(data.shape, dtype=bool), x, y)
    assert fits.good.all()
    pull = (fits.x - x) / fits.x_error
    assert abs(pull.mean()) < 0.3
    assert pull.std() < 1.2
    # Fitted as if alone, the same spots are far off.
    alone = fit_lines(data, variance, np.ones(data.shape, dtype=bool), x[::9], y[::9])
    assert np.nanmax(np.abs((alone.x - x[::9]) / alone.x_error)) > 6.0


def test_cosmic_ray_in_the_wing_and_flagged_core(spots):
    spot_image, exposed = spots
    x, y, shape, random = grid_of_spots(100)
    data, variance = exposed(spot_image(shape, x, y, np.full(x.size, 8000.0), 0.95) + 5.0, random)
    data[np.rint(y).astype(int) + 2, np.rint(x).astype(int) + 2] += 3000.0
    usable = np.ones(shape, dtype=bool)
    hit = fit_lines(data, variance, usable, x, y)
    assert np.median(np.abs(hit.x - x)) < 0.02
    usable[np.rint(y[:50]).astype(int), np.rint(x[:50]).astype(int)] = False
    lost = fit_lines(data, variance, usable, x, y)
    assert lost.good[50:].all()
    usable[:] = True
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            usable[np.rint(y[:50]).astype(int) + dy, np.rint(x[:50]).astype(int) + dx] = False
    lost = fit_lines(data, variance, usable, x, y)
    assert not lost.good[:50].any()
    assert np.isnan(lost.x[:50]).all()


def test_nothing_there_is_not_a_line(spots):
    _, exposed = spots
    data, variance = exposed(np.full((200, 200), 10.0), np.random.default_rng(2))
    x = np.linspace(10, 190, 50)
    fits = fit_lines(data, variance, np.ones(data.shape, dtype=bool), x, x)
    assert fits.good.sum() <= 5
    empty = fit_lines(data, variance, np.ones(data.shape, dtype=bool), np.zeros(0), np.zeros(0))
    assert len(empty) == 0
    bad = np.full_like(data, np.nan)
    assert not fit_lines(bad, variance, np.ones(data.shape, dtype=bool), x, x).good.any()


def test_place_prior_holds_a_faint_neighbour(spots):
    spot_image, exposed = spots
    random = np.random.default_rng(4)
    x = np.repeat(20.0 + 30.0 * np.arange(30), 2) + np.tile([0.0, 2.2], 30)
    y = np.full(60, 20.0)
    flux = np.tile([20000.0, 2000.0], 30)
    data, variance = exposed(spot_image((40, 940), x, y, flux, 0.95) + 5.0, random)
    held = PlacePrior(x, y, np.tile([1.0, 0.01], 30))
    usable = np.ones(data.shape, dtype=bool)
    fits = fit_lines(data, variance, usable, x, y, place_prior=held, rounds=8)
    assert abs(np.mean((fits.x - x)[::2])) < 0.01
    alone = fit_lines(data, variance, usable, x[::2], y[::2])
    assert np.mean(alone.x - x[::2]) > 0.03


def test_image_of_a_tilted_slit_is_no_ellipse_along_the_axes(spots):
    _, exposed = spots
    x, y, shape, random = grid_of_spots(400)
    shear, sigma, fine = -0.35, 0.9, 5
    image = np.zeros(shape)
    offset = (np.arange(13 * fine) + 0.5) / fine - 6.5
    for cx, cy in zip(x, y, strict=True):
        column, row = round(cx), round(cy)
        dx, dy = offset[None, :] + column - cx, offset[:, None] + row - cy
        spot = np.exp(-0.5 * (((dx - shear * dy) / sigma) ** 2 + (dy / 1.05) ** 2)) / (2.0 * np.pi * sigma * 1.05)
        pixels = spot.reshape(13, fine, 13, fine).mean(axis=(1, 3))
        image[row - 6 : row + 7, column - 6 : column + 7] += 20000.0 * pixels
    data, variance = exposed(image + 5.0, random)
    usable = np.ones(shape, dtype=bool)
    first = fit_lines(data, variance, usable, x, y)
    widths = smooth_widths(first, np.ones(x.size), x, y)
    fits = fit_lines(data, variance, usable, first.x, first.y, width_prior=widths)
    assert fits.good.sum() == 400
    assert np.median(fits.shear) == pytest.approx(shear, abs=0.04)  # rows are taken at their centres
    assert np.median(fits.chi_square) == pytest.approx(1.0, abs=0.1)
    for error, predicted in ((fits.x - x, fits.x_error), (fits.y - y, fits.y_error)):
        assert (error / predicted).std() == pytest.approx(1.0, abs=0.15)
    straight = WidthPrior(widths.sigma_x, widths.sigma_y, np.zeros(x.size), 0.04, 1.0e-3)
    blind = fit_lines(data, variance, usable, x, y, width_prior=straight)
    assert np.nanmedian(blind.chi_square) > 2.0
