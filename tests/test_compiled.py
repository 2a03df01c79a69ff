"""Functions compiled at their first call."""

import subprocess
import sys

import numpy as np
import pytest

from soxs_recipes.compiled import Compiled, compiled


@compiled
def square(value):
    return value * value


@compiled
def sum_of_squares(values):
    total = 0.0
    for value in values:
        total += square(value)
    return total


@compiled(any_order=True)
def any_sum(values):
    total = 0.0
    for value in values:
        total += value
    return total


@compiled
def ratio(numerator, denominator):
    return numerator / denominator


def test_a_compiled_function_calls_another():
    values = np.arange(5.0)
    assert sum_of_squares(values) == 30.0
    assert hasattr(sum_of_squares.machine_code, "nopython_signatures")


def test_sums_in_any_order_keep_nan_and_infinity():
    values = np.ones(1000)
    assert any_sum(values) == 1000
    values[7] = np.inf
    assert any_sum(values) == np.inf
    values[8] = np.nan
    assert np.isnan(any_sum(values))


def test_division_by_zero_is_as_in_numpy():
    assert ratio(1.0, 0.0) == np.inf
    assert np.isnan(ratio(0.0, 0.0))


def test_without_a_writable_folder_it_is_compiled_anew(monkeypatch):
    import numba

    njit = numba.njit
    asked = []

    def no_cache(**options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", no_cache)
    cube = compiled(lambda value: value**3)
    assert cube(2.0) == 8.0
    assert asked == [True, False]


def test_a_function_of_another_module_is_refused():
    def elsewhere(value):
        return value

    elsewhere.__module__ = "another.module"
    names = {"elsewhere": Compiled(elsewhere, any_order=False)}
    exec("def caller(value):\n    return elsewhere(value)", names)
    names["caller"].__module__ = "this.module"
    with pytest.raises(TypeError, match=r"caller calls elsewhere, which is compiled in another module"):
        compiled(names["caller"])(1.0)


def test_sums_of_a_caller_have_an_order():
    names = {"any_sum": any_sum}
    exec("def caller(values):\n    return any_sum(values)", names)
    names["caller"].__module__ = __name__
    assert compiled(names["caller"])(np.ones(4)) == 4.0
    with pytest.raises(TypeError, match="caller calls any_sum: its sums have an order"):
        compiled(any_order=True)(names["caller"])(np.ones(4))


def test_numba_loads_at_the_first_call_only():
    code = "import sys, soxs_recipes.reduction.extraction; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
