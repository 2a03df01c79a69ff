import numpy as np

from soxs_recipes.reduction.dispersion.line_detection import detect_peaks


def test_finds_spots_not_lone_pixels(spots):
    spot_image, exposed = spots
    random = np.random.default_rng(8)
    x, y = random.uniform(10, 390, 60), 10.0 + 6.3 * np.arange(60)
    image = spot_image((400, 400), x, y, np.full(60, 3000.0), 0.9) + np.linspace(0.0, 500.0, 400)
    data, variance = exposed(image, random)
    hits = random.integers(0, 400, (2, 200))
    data[hits[0], hits[1]] += 4000.0
    peaks = detect_peaks(data, variance, np.ones(data.shape, dtype=bool))
    distance = np.hypot(peaks.x[:, None] - x, peaks.y[:, None] - y).min(axis=0)
    assert (distance < 0.6).sum() >= 56
    assert len(peaks) < 75
    assert np.all(np.diff(peaks.flux) <= 0)


def test_flagged_pixels_are_missing_not_dark(spots):
    _, exposed = spots
    data, variance = exposed(np.full((100, 100), 1000.0), np.random.default_rng(1))
    usable = np.ones(data.shape, dtype=bool)
    usable[40:60, 50] = False
    data[40:60, 50] = 1.0e6
    assert len(detect_peaks(data, variance, usable)) == 0
