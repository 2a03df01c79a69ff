"""Functions compiled at their first call."""

import subprocess
import sys
import time
from types import FunctionType, SimpleNamespace

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


@compiled(any_order=True)
def count_of_nan(values):
    count = 0
    for value in values:
        count += np.isnan(value)
    return count


@compiled
def ratio(numerator, denominator):
    return numerator / denominator


def test_a_compiled_function_calls_another():
    values = np.arange(5.0)
    assert sum_of_squares(values) == 30.0
    assert hasattr(sum_of_squares.machine_code, "nopython_signatures")


def test_a_debugger_may_step_through_plain_python(monkeypatch):
    monkeypatch.setattr("numba.config.DISABLE_JIT", True)
    again = Compiled(sum_of_squares._function, any_order=False)
    assert isinstance(again.machine_code, FunctionType)
    assert again(np.arange(5.0)) == 30.0


def test_sums_in_any_order_keep_nan_and_infinity():
    values = np.ones(1000)
    assert any_sum(values) == 1000
    values[7] = np.inf
    assert any_sum(values) == np.inf
    values[8] = np.nan
    assert np.isnan(any_sum(values))
    assert count_of_nan(values) == 1


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
    code = "import sys, soxs_recipes.reduction.extraction.extraction; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_CALLER = """
import sys, time
import numpy as np
from soxs_recipes.compiled import compiled

@compiled
def slow(values):
    total = 0.0
    for value in values:
        total += {terms}
    return total

print("ready", flush=True)
sys.stdin.readline()
slow(np.ones(3))
print(sum(slow.machine_code.stats.cache_misses.values()), flush=True)
"""


@pytest.fixture
def callers(tmp_path, monkeypatch):
    """Start processes that call one compiled function, none of whose code is kept yet, when told."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    script = tmp_path / "caller.py"
    script.write_text(_CALLER.format(terms=" + ".join(f"np.sin({k} * value)" for k in range(1, 60))))
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_processes_that_need_a_function_one_compiles_it(callers):
    processes = [callers() for _ in range(3)]
    for process in processes:
        _go(process)
    assert sorted(int(process.communicate(timeout=100)[0]) for process in processes) == [0, 0, 1]


def test_a_process_that_is_killed_while_it_compiles_stops_nobody(callers, tmp_path):
    first, second = callers(), callers()
    _go(first)
    give_up = time.monotonic() + 60
    while not list(tmp_path.rglob("*.lock")):
        assert time.monotonic() < give_up
        time.sleep(0.005)
    first.kill()
    began = time.monotonic()
    _go(second)
    assert second.communicate(timeout=100)[0] == "1\n"
    assert time.monotonic() - began < 60
    assert not list(tmp_path.rglob("*.lock"))


def test_who_has_waited_in_vain_compiles_it_too_and_waits_no_more(tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(Compiled, "patience", 0.05)
    cube = compiled(lambda value: value**3)
    folder = tmp_path / "kept"
    folder.mkdir()

    class Dispatcher:
        stats = SimpleNamespace(cache_path=str(folder))
        compile = staticmethod(lambda signature: f"code for {signature}")

    locked = cube._by_one_process(Dispatcher)
    assert locked("floats") == "code for floats"
    assert Compiled.patience == 0.05
    assert not list(folder.iterdir())
    (name,) = (f"{cube._function.__module__}.{cube._function.__qualname__}.lock",)
    with FileLock(folder / name.replace("<", "").replace(">", "")):
        assert locked("floats") == "code for floats"
    assert Compiled.patience == 0.0


def test_a_folder_that_cannot_be_locked_is_no_hindrance(tmp_path):
    (tmp_path / "file").write_text("")
    cube = compiled(lambda value: value**3)

    class Dispatcher:
        stats = SimpleNamespace(cache_path=str(tmp_path / "file" / "kept"))
        compile = staticmethod(lambda signature: f"code for {signature}")

    assert cube._by_one_process(Dispatcher)("floats") == "code for floats"
