"""Many-seed accuracy: each topic simulates, reduces through the recipes and compares with the truth.

    python benchmarks/accuracy.py                          all topics, five seeds, and the page of docs/
    python benchmarks/accuracy.py --topics night nod --seeds 1 2
    python benchmarks/accuracy.py --page                   the page anew from the stored figures

A topic is a file `accuracy_<topic>.py` beside this one with TITLE, BARS and measure(seed, folder). Figures are
kept in `results/<topic>.json` with version and seeds; what a topic simulated is removed after each seed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from soxs_recipes import __version__

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "accuracy.md"

_INTRODUCTION = """# Accuracy on simulated truth

Made by `make accuracy` from runs of the recipes on simulated frames. A bar is what is asked for, and the worst
seed is held against it; the mean of all seeds ("of the mean") where what one seed's noise does to a figure is
as large as its bar. Errors of means are from the scatter between seeds. Pulls are (value − truth)/stated error;
widths of distributions are robust.
"""

Figures = Mapping[str, Mapping[str, float]]


def topics() -> dict[str, ModuleType]:
    """Modules of all topics, by name."""
    names = sorted(path.stem.removeprefix("accuracy_") for path in HERE.glob("accuracy_*.py"))
    return {name: importlib.import_module(f"accuracy_{name}") for name in names}


def meets(bar: tuple[float, str] | None, value: float) -> bool | None:
    """Whether a figure meets its bar; None when it has none.

    (bound, "max"): at most in absolute value; (bound, "min"): at least; (bound, "near"): this far from 1.
    """
    if bar is None:
        return None
    bound, sense = bar
    if sense == "max":
        return bool(abs(value) <= bound)
    if sense == "min":
        return bool(value >= bound)
    return bool(abs(value - 1.0) <= bound)


def _bar_text(bar: tuple[float, str] | None) -> str:
    if bar is None:
        return ""
    bound, sense = bar
    return {"max": f"≤ {bound:g}", "min": f"≥ {bound:g}", "near": f"1.00 ± {bound:.2f}"}[sense]


def _distance(bar: tuple[float, str] | None, value: float) -> float:
    """How bad a value is: the worst seed has the largest."""
    sense = bar[1] if bar else "max"
    return -value if sense == "min" else abs(value - (1.0 if sense == "near" else 0.0))


def table(seeds: Mapping[int, Figures], bars: Mapping[str, tuple[float, str]], means: Collection[str] = ()) -> str:
    """Markdown: mean and worst seed of each figure, beside its bar; of `means` the mean is held against it."""
    lines = ["| arm | figure | bar | mean | worst | seed | met |", "|---|---|---|---|---|---|---|"]
    arms = dict.fromkeys(arm for figures in seeds.values() for arm in figures)
    for arm in arms:
        for figure in dict.fromkeys(name for figures in seeds.values() for name in figures.get(arm, {})):
            values = {seed: f[arm][figure] for seed, f in seeds.items() if figure in f.get(arm, {})}
            bar = bars.get(figure)
            seed = max(values, key=lambda seed, v=values, b=bar: _distance(b, v[seed]))
            mean = float(np.mean(list(values.values())))
            verdict = {None: "", True: "yes", False: "**no**"}[
                meets(bar, mean if figure in means else values[seed])
            ]
            verdict += ", of the mean" if figure in means and verdict else ""
            lines.append(
                f"| {arm} | {figure} | {_bar_text(bar)} | {_mean_text(list(values.values()))} "
                f"| {values[seed]:.4g} | {seed} | {verdict} |"
            )
    return "\n".join(lines) + "\n"


def _mean_text(values: list[float]) -> str:
    """The mean, with its error where the seeds are enough to tell of it."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2g}" if len(values) > 2 else ""
    return f"{np.mean(values):.4g}{error}"


def run(name: str, module: ModuleType, seeds: list[int], keep: Path | None) -> None:
    """Measure a topic on some seeds and store the figures, seed by seed."""
    stored = {"version": __version__, "seeds": {}}
    for seed in seeds:
        base = Path(tempfile.mkdtemp(prefix=f"soxs-accuracy-{name}-")) if keep is None else keep / name
        started = time.monotonic()
        stored["seeds"][str(seed)] = module.measure(seed, base / f"seed{seed}")
        if keep is None:
            shutil.rmtree(base)
        print(f"{name}, seed {seed}: {time.monotonic() - started:.0f} s", flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def page() -> str:
    """The page of docs/, from what is stored."""
    parts = [_INTRODUCTION]
    for name, module in topics().items():
        path = RESULTS / f"{name}.json"
        if not path.exists():
            continue
        stored = json.loads(path.read_text(encoding="utf-8"))
        seeds = {int(seed): figures for seed, figures in stored["seeds"].items()}
        listed = ", ".join(str(seed) for seed in sorted(seeds))
        if len(seeds) > 5 and len(seeds) == max(seeds) - min(seeds) + 1:
            listed = f"{min(seeds)} to {max(seeds)}"
        parts += [
            f"## {module.TITLE}\n",
            f"Version {stored['version']}, seeds {listed}.\n",
            table(seeds, module.BARS, getattr(module, "MEANS", ())),
        ]
    return "\n".join(parts)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", nargs="+", help="some topics only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--keep", type=Path, help="keep what is simulated and reduced, below this folder")
    parser.add_argument("--page", action="store_true", help="write the page from the stored figures only")
    options = parser.parse_args()
    known = topics()
    unknown = set(options.topics or ()) - set(known)
    if unknown:
        parser.error(f"no topic {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not options.page:
        for name in options.topics or known:
            run(name, known[name], options.seeds, options.keep)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
