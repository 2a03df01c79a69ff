"""What files are for, as Reflex tells it: chains of actions such as `ACTION_BIAS_VIS/ACTION_FLAT_VIS`."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["own_purposes"]


def own_purposes(purposes: Iterable[str], action: str) -> frozenset[str]:
    """The chains that go through an action whose name begins so."""
    return frozenset(chain for chain in purposes if any(name.startswith(action) for name in chain.split("/")))
