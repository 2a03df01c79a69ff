"""How seeing, clouds and sky change during a night: smooth functions of time, the same for both arms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soxs_recipes.simulator.catalogues import AIRGLOW_FAMILIES
from soxs_recipes.simulator.hardware import generator
from soxs_recipes.simulator.light import Observation

__all__ = ["varied"]

_PERIODS = np.array([23.0, 61.0, 157.0])  # min: gravity waves, tides
_STRENGTHS = {"airglow": 0.04, "family": 0.02, "continuum": 0.015, "seeing": 0.06, "clouds": 0.015}


def _wave(seed: int, purpose: tuple[object, ...], minutes: float, strength: float) -> float:
    """A sum of waves of unit variance times `strength`."""
    random = generator(seed, "variation", *purpose)
    phases, periods = random.uniform(0.0, 2.0 * np.pi, _PERIODS.size), _PERIODS * random.uniform(0.8, 1.25, 3)
    waves = np.sin(2.0 * np.pi * minutes / periods + phases)
    return strength * float(waves.sum()) * np.sqrt(2.0 / _PERIODS.size)


def varied(observation: Observation, seed: int, minutes: float, strength: float = 1.0) -> Observation:
    """An observation as the sky is at a time of the night.

    Parameters
    ----------
    observation : Observation
        The night's mean circumstances.
    seed : int
    minutes : float
        After the beginning of the night.
    strength : float
        Scales the changes: airglow by some 4 % and each hydroxyl family by 2 % more, sky continuum 1.5 %,
        seeing 6 %, clouds 1.5 %.
    """
    change = {
        name: _wave(seed, (name,), minutes, strength * size)
        for name, size in _STRENGTHS.items()
        if name != "family"
    }
    families = [
        1.0 + change["airglow"] + _wave(seed, ("family", level), minutes, strength * _STRENGTHS["family"])
        for level in range(AIRGLOW_FAMILIES)
    ]
    return replace(
        observation,
        seeing=observation.seeing * (1.0 + change["seeing"]),
        transparency=min(1.0, observation.transparency * (1.0 + change["clouds"])),
        airglow=tuple(families),
        continuum=1.0 + change["continuum"],
    )
