"""Private names of Python and of matplotlib that the package leans on: one that goes away is told of by name."""

import sys
from multiprocessing.forkserver import ForkServer

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

_SERVER, _AXIS = ForkServer(), Figure().add_subplot().xaxis  # neither starts nor draws anything


@pytest.mark.parametrize(
    ("owner", "name", "user"),
    [
        (sys.modules[ForkServer.__module__], "_forkserver", "cascade.pool.drop_ahead"),
        (_SERVER, "_forkserver_pid", "cascade.pool.drop_ahead"),
        (_SERVER, "_stop", "cascade.pool.drop_ahead"),
        (_AXIS, "_major_tick_kw", "plots.quick_scales"),
        (_AXIS, "_minor_tick_kw", "plots.quick_scales"),
        (Axis, "_get_tick", "plots.late_ticks"),
        (Axes, "_init_axis", "plots.late_ticks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_is_still_there(owner, name, user):
    version = f"Python {sys.version.split()[0]}, matplotlib {mpl.__version__}"
    of = getattr(owner, "__name__", type(owner).__name__)
    assert hasattr(owner, name), f"{of}.{name} is gone ({version}): {user} needs another way to do it"
