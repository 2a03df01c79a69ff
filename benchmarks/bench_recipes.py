"""Time and peak memory of each recipe call of a reduced night, each in a process of its own, warm disk.

    python benchmarks/bench_recipes.py [WORKSPACE]

Start-up is what a new process needs before the first pixel: the interpreter, the recipe with its parameters, and
all that its `process` imports; a warm worker pays it once. CPU is that of the whole process, start-up included.
Beside the seconds stands the ratio to the call's I/O floor: reading its inputs and writing its products in the
same run, with nothing done between. Machines are noisy; ratios from one run are what to compare.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from soxs_recipes.recipes.framework.registry import recipe_class


@dataclass(frozen=True)
class Measured:
    """One call: what, how long and how much work [s], start-up [s], peak memory [MB], I/O floor [s]."""

    name: str
    seconds: float
    cpu: float
    start_up: float
    memory: float
    floor: float
    exit_code: int


def calls(workspace: Path) -> list[tuple[str, Path, Path]]:
    """(recipe command, SOF, folder of products) of each call of a reduced night."""
    found = []
    for record in sorted((workspace / "products").rglob("job.json")):
        recipe = json.loads(record.read_text(encoding="utf-8"))["recipe"]
        relative = record.parent.relative_to(workspace / "products")
        sof = workspace / "sof" / relative.with_name(relative.name + ".sof")
        if not sof.is_file():
            sof = next(iter(sorted((workspace / "sof" / relative).glob("*.sof"))), sof)
        found.append((recipe.removeprefix("soxs_"), sof, record.parent))
    return found


def run(command: str, sof: Path, products: Path) -> Measured:
    """Run one call in a new process."""
    output = Path(tempfile.mkdtemp(prefix="soxs-bench-"))
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "soxs_recipes.cli", command, str(sof), "-o", str(output), "-q"],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    shutil.rmtree(output)
    name = f"{command} {products.name}"
    return Measured(
        name,
        seconds,
        usage.ru_utime + usage.ru_stime,
        start_up(command),
        usage.ru_maxrss * 1024e-6,
        io_floor(sof, products),
        os.waitstatus_to_exitcode(status),
    )


@cache
def start_up(command: str) -> float:
    """CPU seconds of a new process that gets ready to run a recipe."""
    name = f"soxs_{command}"
    module = recipe_class(name).__module__
    lines = [f"from {recipe_class.__module__} import recipe_class", f"recipe_class({name!r})().parameters"]
    lines += [f"import {needed}" for needed in imported_when_run(module)]
    process = subprocess.Popen([sys.executable, "-c", "\n".join(lines)])
    _, status, usage = os.wait4(process.pid, 0)
    return usage.ru_utime + usage.ru_stime if status == 0 else float("nan")


def imported_when_run(module: str) -> list[str]:
    """Modules that a recipe's functions import, and those that its helpers do."""
    pending, known = [module], set()
    while pending:
        name = pending.pop()
        if (
            name in known
            or (spec := importlib.util.find_spec(name)) is None
            or not str(spec.origin).endswith(".py")
        ):
            continue
        known.add(name)
        tree = ast.parse(Path(str(spec.origin)).read_text(encoding="utf-8"))
        found = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        pending += [name for name in found if name.startswith(("soxs_recipes.recipes", "soxs_recipes.reduction"))]
    return sorted(known)


def io_floor(sof: Path, products: Path) -> float:
    """Seconds to read all inputs and write (with fsync) bytes as many as the products have."""
    inputs = [line.split()[0] for line in sof.read_text(encoding="utf-8").splitlines() if line.strip()]
    written = [path.read_bytes() for path in products.glob("*.fits")]
    started = time.monotonic()
    for path in inputs:
        if Path(path).is_file():
            Path(path).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(written):
            with (Path(folder) / str(number)).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
    return time.monotonic() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", nargs="?", type=Path, default=Path("demo/soxs"))
    workspace = parser.parse_args().workspace
    jobs = calls(workspace)
    if not jobs:
        raise SystemExit(f"{workspace}: no reduced night here; run `make demo` first")
    rows = [run(*job) for job in jobs]
    print(f"{'call':48} {'time':>8} {'CPU':>8} {'start-up':>9} {'I/O floor':>10} {'ratio':>6} {'peak memory':>12}")
    for row in rows:
        mark = "" if row.exit_code == 0 else f"  exit {row.exit_code}"
        ratio = row.seconds / max(row.floor, 1e-3)
        print(
            f"{row.name[:48]:48} {row.seconds:6.1f} s {row.cpu:6.1f} s {row.start_up:7.2f} s {row.floor:8.2f} s"
            f" {ratio:6.1f} {row.memory:9.0f} MB{mark}"
        )
    total, cpu = sum(row.seconds for row in rows), sum(row.cpu for row in rows)
    print(
        f"{'all, one after the other':48} {total:6.1f} s {cpu:6.1f} s {'':27} "
        f"{max(row.memory for row in rows):9.0f} MB"
    )


if __name__ == "__main__":
    main()
