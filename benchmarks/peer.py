"""Reduce a simulated night with the peer, soxspipe, in an environment of its own: `make peer`.

The proof that the simulator writes what the instrument writes: the peer's own organiser classifies the raw frames
and its own recipes reduce them, unedited. Needs Python 3.12 or newer (it is looked for) and some 15 minutes.
`make bench` compares times and accuracy of both on the same night.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from measured_run import Cost, run_measured

PEER = ("soxspipe==0.17.4", "six", "scikit-image")
_FAILED_QC = re.compile(r"\|\s*([A-Z][A-Z0-9 ]+?)\s*\|\s*([-0-9.eE+]+)\s*\|.*\|\s*fail\s*\|")
_COMMAND = re.compile(r"Recipe Command: soxspipe (\w+) sof/(\S+)\.sof")
_RECIPES = {"spat_solution": "spatial_solution"}  # the peer's name: ours


def find_python() -> str | None:
    """A Python of 3.12 or newer, None without one; the peer does not run on 3.11."""
    if sys.version_info >= (3, 12):
        return sys.executable
    for minor in (14, 13, 12):
        found = shutil.which(f"python3.{minor}")
        # A version manager's shim may be there for a version that is not.
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def peer_command(folder: Path) -> Path:
    """The peer's command, installed at first use."""
    environment = folder / "venv"
    command = environment / "bin" / "soxspipe"
    if not command.exists():
        python = find_python()
        if python is None:
            sys.exit("error: the peer needs Python 3.12 or newer on the PATH; this is " + sys.version.split()[0])
        print(f"installing {', '.join(PEER)} in {environment}")
        subprocess.run([python, "-m", "venv", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PEER], check=True)
    return command


def reduce_night(command: Path, raw: Path, night: Path) -> Cost:
    """Run the peer's organiser and its whole cascade, serial and with its plots, on copies of the raw frames.

    Parts of the cost are named `<recipe> <arm>`, with our recipe names.
    """
    shutil.rmtree(night, ignore_errors=True)
    night.mkdir(parents=True)
    for path in sorted(raw.glob("SOXS.*.fits")):
        shutil.copy(path, night)
    home = night.parent / "home"  # its settings are not those of a user of this machine
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "MPLBACKEND": "Agg", "HOME": str(home)}
    environment.pop("PYTHONPATH", None)
    log = night.parent / "soxspipe.log"
    organised = run_measured([command, "prep", "."], night, night.parent / "soxspipe_prep.log", environment)
    cost = run_measured(
        [command, "reduce", "all", ".", "-q"], night, log, environment, label=lambda: _current_recipe(log)
    )
    cost.seconds += organised.seconds
    cost.cpu_seconds += organised.cpu_seconds
    return cost


def _current_recipe(log: Path) -> str:
    """What the end of the log says is at work."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 200_000))
        found = _COMMAND.findall(stream.read().decode(errors="replace"))
    if not found:
        return ""
    recipe, sof = found[-1]
    arm = "NIR" if "_NIR_" in sof else "VIS"
    return f"{_RECIPES.get(recipe, recipe)} {arm}"


def report(night: Path, log: Path, cost: Cost, frames: int) -> int:
    """Print what the peer made of the night; the number of its failures."""
    text = log.read_text(errors="replace")
    planned = sorted(path.stem for path in (night / "sof").glob("*.sof"))
    run = {match.group(2) for match in _COMMAND.finditer(text)}
    reduced = (night / "reduced").resolve()  # a link into the session's folder
    products = sorted(reduced.rglob("*.fits"))
    spectra = [path for path in products if "EXTRACTED_MERGED" in path.stem and not path.stem.endswith("NOTFLAT")]
    calibrated = [path for path in products if path.stem.endswith("FLUXCAL")]
    errors = sorted(path.name for path in reduced.rglob("*_ERROR.log"))
    failures = _FAILED_QC.findall(text)
    print(f"{frames} raw frames, {len(planned)} SOFs planned, {len(run)} run, {cost.seconds:.0f} s")
    print(f"{len(products)} products, {len(spectra)} merged spectra, {len(calibrated)} of them flux-calibrated")
    for name, value in failures:
        print(f"QC out of the peer's range: {name} = {value}")
    for name in errors:
        print(f"failed: {name}")
    return len(errors)


def main() -> int:
    """Simulate, reduce with the peer, report."""
    from soxs_recipes.simulator import simulate_night

    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "peer").resolve()
    command = peer_command(folder)
    frames = len(simulate_night(folder / "raw", seed=1, plan="demo").frames)
    cost = reduce_night(command, folder / "raw", folder / "night")
    return 1 if report(folder / "night", folder / "soxspipe.log", cost, frames) else 0


if __name__ == "__main__":
    sys.exit(main())
