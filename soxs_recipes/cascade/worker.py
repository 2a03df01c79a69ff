"""What a worker process does: one recipe call after another, and the plots when there is time."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from soxs_recipes.memory import keep_freed, return_freed

__all__ = ["call_recipe", "draw_plots", "peak_megabytes", "serve", "warm_up"]

_log = logging.getLogger(__name__)
_LOG_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def call_recipe(request: Mapping[str, object]) -> dict[str, object]:
    """Run one recipe and tell how it went, in plain values.

    Parameters
    ----------
    request : mapping
        recipe, frames (pairs of path and tag), settings, folder, key, notes, partial, log, log_level, again, md5s.
    """
    from soxs_recipes.eso.signing import remember_md5s
    from soxs_recipes.recipes.framework.base import run_recipe
    from soxs_recipes.recipes.framework.registry import recipe_class

    remember_md5s(request.get("md5s", ()))
    with _logged_to(request.get("log"), int(request.get("log_level", logging.INFO))):
        if request.get("again"):
            _log.info("to repeat this call by itself: %s", request["again"])
        result = run_recipe(
            recipe_class(str(request["recipe"])),
            [(path, tag) for path, tag in request["frames"]],
            request["settings"],
            str(request["folder"]),
            cascade_key=str(request["key"]),
            notes=request["notes"],
            partial_reasons=request["partial"],
        )
        texts = _write_ascii_spectra(result.products)
    products = [
        {
            "name": product.path.name,
            "tag": product.tag,
            "status": product.status,
            "qc": {parameter.keyword: parameter.value for parameter in product.qc},
        }
        for product in result.products
    ]
    return {
        "status": result.status,
        "reasons": list(result.reasons),
        "notes": list(result.notes),
        "products": products,
        "texts": texts,
        "seconds": result.seconds,
        "error": result.message,
        "error_class": result.error_class,
    }


def _write_ascii_spectra(products) -> list[str]:
    """The merged spectra as plain text beside the products; names of the files."""
    from soxs_recipes.fits_files import ascii_spectrum, read_header, read_merged_spectrum, write_text_atomic

    written = []
    for product in products:
        if "_MERGE1D_" not in product.tag or "_TELL_" in product.tag:
            continue
        header = read_header(product.path)
        comments = [
            f"{key} {header[key]}" for key in ("OBJECT", "DATE-OBS", "MJD-OBS", "TEXPTIME") if key in header
        ]
        path = product.path.with_suffix(".txt")
        write_text_atomic(path, ascii_spectrum(read_merged_spectrum(product.path), [product.tag, *comments]))
        written.append(path.name)
    return written


def draw_plots(request: Mapping[str, object]) -> dict[str, object]:
    """Plots of finished products; all that goes wrong is told, nothing fails."""
    from soxs_recipes.recipes.framework.product_plots import for_products, plot_all_arms

    began = time.monotonic()
    paths = [Path(path) for path in request["products"]]
    folder = Path(str(request["folder"]))
    if request.get("all_arms"):
        drawn = plot_all_arms(paths, folder, str(request["all_arms"]))
    else:
        drawn = for_products(paths, folder)
    return {"status": "COMPLETE", "plots": [str(path) for path in drawn], "seconds": time.monotonic() - began}


class _logged_to:  # noqa: N801 - reads as a word
    """Send the log of the package to a file while a call runs."""

    def __init__(self, path: object, level: int = logging.INFO):
        self.path = Path(str(path)) if path else None
        self.level = level
        self.handler: logging.Handler | None = None

    def __enter__(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.handler = logging.FileHandler(self.path, mode="w", encoding="utf-8")
        self.handler.setFormatter(logging.Formatter(_LOG_FORMAT))
        package = logging.getLogger("soxs_recipes")
        self.handler.setLevel(self.level)
        package.setLevel(min(package.level or logging.INFO, self.level, logging.INFO))
        package.addHandler(self.handler)

    def __exit__(self, *_: object) -> None:
        if self.handler is not None:
            logging.getLogger("soxs_recipes").removeHandler(self.handler)
            self.handler.close()


def warm_up() -> None:
    """Import what every recipe needs, before the first call."""
    for module in (
        "numpy",
        "astropy.io.fits",
        "scipy.linalg",
        "soxs_recipes.recipes.framework.base",
        "soxs_recipes.fits_files",
    ):
        importlib.import_module(module)
    _settle_fits_settings()


def _settle_fits_settings() -> None:
    """Replace astropy's settings for FITS by their values of now.

    They are looked up several times for every header card, which is a fifth of the time that tables and headers
    take; in a worker nobody changes them.
    """
    from astropy.config import ConfigItem
    from astropy.io import fits

    settings = type(fits.conf)
    for name, item in list(vars(settings).items()):
        if isinstance(item, ConfigItem):
            setattr(settings, name, item())


def _resolved(target: str) -> Callable[[Mapping[str, object]], dict[str, object]]:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _end_with_parent(sentinel: int) -> None:
    """A worker whose parent is gone has nobody to report to."""
    from multiprocessing.connection import wait

    wait([sentinel])
    os._exit(1)


def serve(connection: Connection, target: str) -> None:
    """Answer requests until the other side closes: the main function of a worker process."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keep_freed()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with_parent, args=(parent.sentinel,), daemon=True).start()
    call = _resolved(target)
    if target.startswith(__name__):
        warm_up()
    last = "recipe"
    while True:
        try:
            kind, request = connection.recv()
        except (EOFError, OSError):
            return
        # Plots need little: one uses the room again that another has left.
        tidy = "recipe" in (kind, last)
        last = kind
        connection.send(_answer(call if kind == "recipe" else draw_plots, request, tidy=tidy))


def _answer(call: Callable, request: Mapping[str, object], *, tidy: bool = True) -> dict[str, object]:
    began, cpu = time.monotonic(), time.process_time()
    if tidy:
        _let_go()
    _reset_peak()
    try:
        answer = call(request)
    # The border of the process: whatever went wrong becomes an answer.
    except Exception as error:  # noqa: BLE001
        _log.debug("call failed", exc_info=True)
        text = " ".join(str(error).split()) or "no message"
        answer = {"status": "FAILED", "error": text, "error_class": type(error).__name__}
    answer.setdefault("seconds", time.monotonic() - began)
    answer["cpu_seconds"] = time.process_time() - cpu
    answer["peak_mb"] = peak_megabytes()
    return answer


def _let_go() -> None:
    """Give back what the last calls left behind."""
    gc.collect()
    # What is left are modules and masters that are kept: looking through them again and again took a tenth of the
    # time of plots.
    gc.freeze()
    return_freed()


def _reset_peak() -> None:
    """Measure peak memory anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """Peak resident memory since `_reset_peak` [MB]."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024e-6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1e-6 if sys.platform == "darwin" else 1024e-6)
