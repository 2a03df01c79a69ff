"""This pipeline and the peer on the same simulated night, in one run: times, memory, accuracy, as ratios.

    python benchmarks/bench.py                       everything (the peer takes most of the time)
    python benchmarks/bench.py --no-peer             this pipeline alone; the peer's figures of the last run stay
    python benchmarks/bench.py --growth              how the cost grows over 1, 2 and 4 nights, too
    python benchmarks/bench.py --page                the pages anew from the stored figures

Writes `results/bench.json`, `docs/performance.md` and the table in the README. The machine is named by its cores
and memory only; such machines are noisy, so that ratios of one run count. What numba compiles is kept in the
benchmark's folder, so that the cost of a first run is known and all others are without it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import peer
from bench_page import write_pages
from compare import compare_night
from measured_run import run_measured

from soxs_recipes import __version__
from soxs_recipes.recipes.framework.registry import RECIPES

RESULTS = Path(__file__).parent / "results" / "bench.json"
PLAN = "modes"


def machine() -> dict[str, float]:
    """Cores and memory."""
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {"cores": cores, "memory_gb": round(memory)}


def reduce_night(raw: Path, workspace: Path, *, plots: bool) -> dict[str, object]:
    """Cost of `soxs prep` and `soxs reduce all` as a user runs them, in all and by recipe and arm."""
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    soxs = [sys.executable, "-m", "soxs_recipes.cli"]
    target = [str(raw), "-o", str(workspace)]
    prepared = run_measured([*soxs, "prep", *target], raw, workspace / "prep.log")
    words = ["reduce", "all", *target, *([] if plots else ["--no-plots"])]
    cost = run_measured([*soxs, *words], raw, workspace / "reduce.log")
    again = run_measured([*soxs, *words], raw, workspace / "again.log")
    return {
        "seconds": prepared.seconds + cost.seconds,
        "cpu_seconds": prepared.cpu_seconds + cost.cpu_seconds,
        "peak_mb": cost.peak_mb,
        "exit_code": cost.exit_code,
        "again_seconds": again.seconds,
        "parts": recipe_parts(workspace),
    }


def recipe_parts(workspace: Path) -> dict[str, dict[str, float]]:
    """What each recipe cost in each arm, from the records beside the products."""
    parts: dict[str, dict[str, float]] = {}
    for path in sorted((workspace / "products").rglob("job.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        name = f"{record['recipe'].removeprefix('soxs_')} {record['arm']}"
        part = parts.setdefault(name, dict.fromkeys(("calls", "frames", "seconds", "cpu_seconds", "peak_mb"), 0.0))
        part["calls"] += 1
        part["frames"] += len(record["frames"])
        part["seconds"] += record["seconds"] + float(record.get("plots_seconds") or 0.0)
        part["cpu_seconds"] += record["cpu_seconds"] + float(record.get("plots_cpu_seconds") or 0.0)
        part["peak_mb"] = max(part["peak_mb"], record["peak_mb"])
    return parts


def io_floor(raw: Path, workspace: Path) -> float:
    """Seconds to read all raw frames and to write, to disk, bytes as many as the products have."""
    written = [path.stat().st_size for path in (workspace / "products").rglob("*.fits")]
    started = time.monotonic()
    for path in sorted(raw.glob("*.fits")):
        path.read_bytes()
    with tempfile.TemporaryDirectory(dir=workspace) as folder:
        for number, size in enumerate(written):
            with (Path(folder) / str(number)).open("wb") as stream:
                stream.write(bytes(size))
                stream.flush()
                os.fsync(stream.fileno())
    return time.monotonic() - started


def start_up(repeats: int = 3) -> dict[str, float]:
    """Seconds from the start of the interpreter until a recipe's numerics, numba with them, are loaded.

    The median of some. What numba has compiled on this machine before is found, not yet read.
    """
    seconds = {}
    for name, entry in RECIPES.items():
        code = (
            "import sys, contextlib, io\n"
            "from soxs_recipes.cli.main import main\n"
            f"with contextlib.redirect_stdout(io.StringIO()): main(['{entry.commands[0]}', '--help'])\n"
            "import soxs_recipes.reduction.extraction.extraction, soxs_recipes.fits_files\n"
            "ours = [module for name, module in sys.modules.items() if name.startswith('soxs_recipes.')]\n"
            "found = [getattr(value, 'machine_code', None) for m in ours for value in list(vars(m).values())]\n"
            "assert 'numba' in sys.modules and any(found)\n"
        )
        with tempfile.TemporaryDirectory() as name_of_folder:
            folder = Path(name_of_folder)
            runs = [run_measured([sys.executable, "-c", code], folder, folder / "log") for _ in range(repeats)]
        seconds[name] = statistics.median(run.seconds for run in runs)
    return seconds


def growth(folder: Path, seed: int) -> dict[str, float]:
    """Seconds of `reduce all` without plots over 1, 2 and 4 nights in one folder."""
    from soxs_recipes.simulator import simulate_night

    seconds = {}
    raw = folder / "nights"
    shutil.rmtree(raw, ignore_errors=True)  # of an earlier run: all nights would be there from the first
    raw.mkdir()
    for number in range(4):
        simulated = folder / f"night{number}"
        simulate_night(simulated, seed=seed + number, plan="tiny")
        for path in sorted(simulated.glob("SOXS.*.fits")):
            move_by_days(path, raw, number)
        shutil.rmtree(simulated)
        if number + 1 in (1, 2, 4):
            seconds[str(number + 1)] = float(reduce_night(raw, folder / "growth", plots=False)["seconds"])
    return seconds


def move_by_days(path: Path, folder: Path, days: int) -> None:
    """Write a raw frame as if taken some days later."""
    from astropy.io import fits
    from astropy.time import Time, TimeDelta

    with fits.open(path) as hdus:
        header = hdus[0].header
        for key in ("DATE-OBS", "ESO TPL START", "ESO OBS START"):
            if key in header:
                header[key] = (Time(header[key], precision=3) + TimeDelta(days, format="jd")).isot
        header["MJD-OBS"] += days
        hdus[0].writeto(folder / f"SOXS.{header['DATE-OBS']}.fits", checksum=True, overwrite=True)


def measure(options: argparse.Namespace, folder: Path, stored: dict[str, object]) -> dict[str, object]:
    """Run everything that is asked for; what is not keeps its stored figures."""
    from soxs_recipes.simulator import simulate_night

    raw = folder / "raw"
    if not (raw / "truth").is_dir():
        simulate_night(raw, seed=options.seed, plan=options.plan)
    frames = len(list(raw.glob("SOXS.*.fits")))
    result = {**stored, "version": __version__, "machine": machine(), "seed": options.seed, "frames": frames}
    result.pop("remark", None)
    compiled = folder / "compiled"
    shutil.rmtree(compiled, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(compiled)
    first = reduce_night(raw, folder / "without_plots", plots=False)
    result["first"] = {name: first[name] for name in ("seconds", "cpu_seconds", "peak_mb")}
    result["ours"] = reduce_night(raw, folder / "with_plots", plots=True)
    result["bare"] = reduce_night(raw, folder / "without_plots", plots=False)
    result["io_floor"] = io_floor(raw, folder / "without_plots")
    result["start_up"] = start_up()
    result["start_up_loads"] = "declaration and numerics, numba with them,"
    if options.growth:
        result["growth"] = growth(folder, options.seed)
    del os.environ["NUMBA_CACHE_DIR"]
    if options.peer:
        night = folder / "peer" / "night"
        night.parent.mkdir(exist_ok=True)
        command = options.peer_command or peer.peer_command(folder / "peer")
        result["peer"] = asdict(peer.reduce_night(command, raw, night))
        result["accuracy"] = compare_night(raw, folder / "with_plots", night)
    return result


def main() -> None:
    """Measure and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("bench"), help="where nights are simulated and reduced"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", default=PLAN, help="plan of the simulated night")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="do not run the peer")
    parser.add_argument("--peer-command", type=Path, help="the peer's command, when it is installed already")
    parser.add_argument("--growth", action="store_true", help="measure 1, 2 and 4 nights, too")
    parser.add_argument("--page", action="store_true", help="write the pages from the stored figures only")
    options = parser.parse_args()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if options.peer and options.peer_command is None and peer.find_python() is None:
        print("no Python 3.12 or newer on the PATH: the peer is not run, its figures stay those of the last run")
        options.peer = False
    if not options.page:
        folder = options.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        stored = measure(options, folder, stored)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    write_pages(stored)


if __name__ == "__main__":
    main()
