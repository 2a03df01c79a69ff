"""Functions that numba turns into machine code, at their first call and not before.

Numba takes a third of a second to import and a second or so to compile a function, once a machine: the code is
kept beside the source, or in the user's cache where that folder is not writable. Of processes that need a function
at the same time, one compiles it and the others wait for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, update_wrapper
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, overload

__all__ = ["FIRST_RUN", "Compiled", "compiled", "is_machine_code_kept"]

FIRST_RUN = "the first run on this machine compiles loops over pixels: some minutes more, once"

_log = logging.getLogger(__name__)
_POLL = 0.02  # s
# Sums may be taken in any order, which lets them run on vector units; NaN and infinity keep their meaning.
_ANY_ORDER = frozenset({"reassoc", "contract", "nsz"})


class Compiled:
    """A function of numbers and arrays that is compiled when it is first called.

    It may call other compiled functions of its own module, and of that only: numba's kept code does not notice a
    change in another file. What it may be written in is numba's choice (no keyword arguments in calls, say).
    """

    # For another process that compiles [s]: many times what the longest function takes. Who has waited in
    # vain once, for a lock that a file system keeps after its process, waits no more.
    patience: ClassVar[float] = 120.0

    def __init__(self, function: FunctionType, *, any_order: bool) -> None:
        self._function = function
        self._any_order = any_order
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns, from machine code."""
        return self.machine_code(*arguments)

    @cached_property
    def machine_code(self) -> Callable[..., Any]:
        """Numba's dispatcher of the function, its code kept for the next process."""
        import numba

        called = self._called()
        if called and self._any_order:
            # Which copy of a called function runs, and whether it is merged into its caller, depends on what was
            # compiled before: with sums in any order, so would the last bits.
            raise TypeError(f"{self._function.__qualname__} calls {next(iter(called))}: its sums have an order")
        options = self._options(any_order=self._any_order)
        function = self._with_names(called)
        if numba.config.DISABLE_JIT:  # plain Python, for a debugger
            return function
        try:
            dispatcher = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder is writable: compile anew in each process
            return numba.njit(**options)(function)
        dispatcher.compile = self._by_one_process(dispatcher)
        return dispatcher

    def _by_one_process(self, dispatcher: Any) -> Callable[[Any], Any]:
        """The dispatcher's way to machine code: kept code is read, or made, by one process at a time."""
        compile_ = dispatcher.compile
        name = f"{self._function.__module__}.{self._function.__qualname__}.lock"
        path = Path(dispatcher.stats.cache_path, name.replace("<", "").replace(">", ""))

        def locked(signature: Any) -> Any:
            with _locked(path):
                return compile_(signature)

        return locked

    @cached_property
    def part(self) -> Callable[..., Any]:
        """Numba's dispatcher for callers, with whose code it is kept; sums in the order that is written."""
        import numba

        return numba.njit(**self._options(any_order=False))(self._with_names(self._called()))

    @staticmethod
    def _options(*, any_order: bool) -> dict[str, Any]:
        return {"nogil": True, "error_model": "numpy", "fastmath": any_order and set(_ANY_ORDER)}

    def _called(self) -> dict[str, Compiled]:
        """The compiled functions that the function calls, by name."""
        original = self._function
        names = {name: original.__globals__.get(name) for name in original.__code__.co_names}
        called = {name: value for name, value in names.items() if isinstance(value, Compiled)}
        for name, value in called.items():
            if value._function.__module__ != original.__module__:
                raise TypeError(f"{original.__qualname__} calls {name}, which is compiled in another module")
        return called

    def _with_names(self, called: Mapping[str, Compiled]) -> FunctionType:
        """The function, what it calls in numba's form."""
        original = self._function
        names = original.__globals__ | {name: value.part for name, value in called.items()}
        copy = FunctionType(
            original.__code__, names, original.__name__, original.__defaults__, original.__closure__
        )
        copy.__module__, copy.__qualname__ = original.__module__, original.__qualname__
        return copy


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, which ends with its process; go on without it where files cannot be locked."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=Compiled.patience, poll_interval=_POLL)
    except Timeout:
        _log.debug("%s is still locked after %.0f s: compiled here as well", path, Compiled.patience)
        Compiled.patience = 0.0
    except (OSError, NotImplementedError) as error:
        _log.debug("no lock: %s", error)
    try:
        yield
    finally:
        if lock.is_locked:
            # Who waits for it finds the kept code; a newcomer makes a lock of its own and does, too.
            with contextlib.suppress(OSError):
                path.unlink()
            lock.release()


@overload
def compiled(function: FunctionType) -> Compiled: ...
@overload
def compiled(*, any_order: bool) -> Callable[[FunctionType], Compiled]: ...
def compiled(function: FunctionType | None = None, *, any_order: bool = False) -> Any:
    """Decorator: compile a function of numbers and arrays when it is first called.

    Parameters
    ----------
    function : function
        Loops over arrays; what numba's nopython mode takes.
    any_order : bool
        Let sums be taken in any order: faster, their last bits depend on the processor. Not for functions that
        call other compiled ones (TypeError); within one that calls it, sums are taken as written.

    Returns
    -------
    Compiled
        Called like the function, without keywords. Division by zero gives infinity or NaN, as in numpy; indices
        are not checked.
    """
    if function is None:
        return lambda wrapped: Compiled(wrapped, any_order=any_order)
    return Compiled(function, any_order=any_order)


def is_machine_code_kept() -> bool:
    """Whether some function was compiled on this machine before; numba is not asked, for it loads slowly."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(named)] if named else [Path(__file__).parent, Path.home() / ".cache" / "numba"]
    return any(next(place.rglob("*.nbi"), None) for place in places)
