"""Axes that make no tick before somebody asks for one.

Matplotlib makes a tick (five artists) for each axis as soon as its grid is switched, which takes as long as all
else about new axes; figures that go to files are drawn without any, see `quick_scales`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.axes import Axes
from matplotlib.axis import Tick, XAxis, YAxis

__all__ = ["LateAxes"]

_LISTS = ("majorTicks", "minorTicks")


class _LateTicks:
    """What is set for ticks is noted by the axis, for those that are made later."""

    def set_tick_params(self, *args, **kwargs) -> None:
        with self._making_none():
            super().set_tick_params(*args, **kwargs)

    def set_clip_path(self, path, transform=None) -> None:
        with self._making_none():
            super().set_clip_path(path, transform)

    def _get_tick(self, major: bool) -> Tick:
        tick = super()._get_tick(major)
        tick.set_clip_path(self.axes.patch)
        return tick

    @contextmanager
    def _making_none(self) -> Iterator[None]:
        """In this block lists of ticks that are not there yet are empty."""
        absent = [name for name in _LISTS if name not in vars(self)]
        for name in absent:
            setattr(self, name, [])
        try:
            yield
        finally:
            for name in absent:
                vars(self).pop(name, None)


class _LateXAxis(_LateTicks, XAxis):
    pass


class _LateYAxis(_LateTicks, YAxis):
    pass


class LateAxes(Axes):
    """Axes as matplotlib's, with ticks that are made when they are asked for."""

    def _init_axis(self) -> None:
        super()._init_axis()
        # The same objects, so that spines know them.
        self.xaxis.__class__ = _LateXAxis
        self.yaxis.__class__ = _LateYAxis

    def clear(self) -> None:
        """Empty the axes."""
        super().clear()
        for spine in self.spines.values():
            if spine.get_visible():
                spine.get_position()  # it finds its place when a tick asks for it, else never
