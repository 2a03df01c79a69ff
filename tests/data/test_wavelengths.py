import numpy as np

from soxs_recipes.data.wavelengths import air_to_vacuum, vacuum_to_air

# Published pairs (vacuum, air) of well-known lines [nm]: Ar I of the NIST tables.
ARGON = [(763.7208, 763.5106), (811.7542, 811.5311)]


def test_known_lines():
    vacuum, air = np.array(ARGON).T
    assert np.abs(vacuum_to_air(vacuum) - air).max() < 2e-4
    assert np.abs(air_to_vacuum(air) - vacuum).max() < 2e-4


def test_round_trip():
    vacuum = np.linspace(300, 2500, 1001)
    assert np.abs(air_to_vacuum(vacuum_to_air(vacuum)) / vacuum - 1).max() < 1e-12


def test_nan_stays_nan():
    assert np.isnan(vacuum_to_air(np.array([np.nan])))[0]
