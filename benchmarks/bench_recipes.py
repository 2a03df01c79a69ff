"""Time and peak memory of each recipe call of a reduced night, each in a process of its own, warm disk.

    python benchmarks/bench_recipes.py [WORKSPACE]

Beside the seconds stands the ratio to the call's I/O floor: reading its inputs and writing its products in the
same run, with nothing done between. Machines are noisy; ratios from one run are what to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """One call: what, how long [s], peak memory [MB], I/O floor [s]."""

    name: str
    seconds: float
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
        name, seconds, usage.ru_maxrss / 1024, io_floor(sof, products), os.waitstatus_to_exitcode(status)
    )


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
    print(f"{'call':60} {'time':>8} {'I/O floor':>10} {'ratio':>6} {'peak memory':>12}")
    for row in rows:
        mark = "" if row.exit_code == 0 else f"  exit {row.exit_code}"
        ratio = row.seconds / max(row.floor, 1e-3)
        print(
            f"{row.name[:60]:60} {row.seconds:6.1f} s {row.floor:8.2f} s {ratio:6.1f} {row.memory:9.0f} MB{mark}"
        )
    total = sum(row.seconds for row in rows)
    print(f"{'all, one after the other':60} {total:6.1f} s {'':17} {max(row.memory for row in rows):9.0f} MB")


if __name__ == "__main__":
    main()
