"""The pages that show what `bench.py` measured: `docs/performance.md` and a table in the README."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PERFORMANCE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
_README_TABLE = re.compile(r"(<!-- bench -->\n).*?(<!-- /bench -->)", re.DOTALL)

Result = Mapping[str, object]


def write_pages(result: Result) -> None:
    """Write both from one set of figures."""
    PERFORMANCE.write_text(performance_page(result), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), result), encoding="utf-8")


def with_table(readme: str, result: Result) -> str:
    """The README with its table anew."""
    table = "\n".join([_setting(result), "", *night_table(result)]) + "\n"
    return _README_TABLE.sub(lambda found: f"{found[1]}{table}{found[2]}", readme)


def performance_page(result: Result) -> str:
    """Markdown of the whole page."""
    parts = [
        "# Times, memory, and the peer beside them",
        "Made by `make bench`. " + _setting(result),
        "## The night",
        "\n".join(night_table(result)),
        "## Each recipe",
        "Seconds and CPU seconds of all its calls with plots, largest memory of a process.",
        "\n".join(recipe_table(result)),
    ]
    if result.get("accuracy"):
        parts += [
            "## Accuracy of both on the same frames",
            _ACCURACY_WORDS,
            "\n".join(accuracy_table(result["accuracy"])),
        ]
    parts += ["## Start-up", "\n".join(_start_up_lines(result))]
    if result.get("growth"):
        parts += ["## How the cost grows", "\n".join(_growth_lines(result["growth"]))]
    return "\n\n".join(parts) + "\n"


_ACCURACY_WORDS = """Both against the simulation's truth by the same code. Signal-to-noise is measured, not
claimed: the scatter of spectrum over truth in bins of 0.5 nm, per exposure. Claimed over measured error is 1 when
error bars are true."""


def _setting(result: Result) -> str:
    """Night and machine, and what a person noted of the run (`remark`, written into the stored figures)."""
    machine = result["machine"]
    remark = f" {result['remark']}" if result.get("remark") else ""
    return (
        f"One simulated night of {result['frames']} full-size frames (stare, nod, offset, standards, both arms; "
        f"seed {result['seed']}) on {machine['cores']} cores with {machine['memory_gb']:.0f} GB; version "
        f"{result['version']}.{remark}"
    )


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*("---" for _ in cells))]


def _ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.1f}" if ours > 0 else ""


def night_table(result: Result) -> list[str]:
    """The whole night: ours with plots, without, the peer, the floor."""
    ours, bare, peer = result["ours"], result["bare"], result.get("peer")
    floor = float(result["io_floor"])
    lines = _head("the whole night", "wall [s]", "CPU [s]", "peak memory of a process [MB]")
    lines.append(_row("soxs, with plots", *_costs(ours)))
    lines.append(_row("soxs, without plots", *_costs(bare)))
    if "first" in result:
        lines.append(
            _row("soxs, without plots, first run of a machine: loops are compiled", *_costs(result["first"]))
        )
    lines.append(_row("a second run, nothing to do", f"{ours['again_seconds']:.1f}", "", ""))
    lines.append(_row("reading the raw frames and writing the products alone", f"{floor:.1f}", "", ""))
    if peer:
        lines.append(_row("soxspipe 0.17.4, serial, its plots on", *_costs(peer)))
        ratios = (_ratio(peer[name], ours[name]) for name in ("seconds", "cpu_seconds", "peak_mb"))
        lines.append(_row("**soxspipe / soxs with plots**", *(f"**{ratio}**" for ratio in ratios)))
    lines.append(_row("soxs without plots / reading and writing alone", _ratio(bare["seconds"], floor), "", ""))
    return lines


def _costs(cost: Result) -> tuple[str, str, str]:
    return f"{cost['seconds']:.0f}", f"{cost['cpu_seconds']:.0f}", f"{cost['peak_mb']:.0f}"


def recipe_table(result: Result) -> list[str]:
    """A row a recipe and arm."""
    peer = (result.get("peer") or {}).get("parts", {})
    lines = _head("recipe", "calls", "frames", "soxs [s]", "CPU [s]", "peak [MB]",
                  "soxspipe [s]", "CPU [s]", "peak [MB]", "soxspipe / soxs, CPU")  # fmt: skip
    ours = result["ours"]["parts"]
    for name, part in ours.items():
        theirs = peer.get(name) or _standards_too(peer, name)
        other = ("", "", "", "")
        if theirs:
            other = (*_costs(theirs), _ratio(theirs["cpu_seconds"], part["cpu_seconds"]))
        own = (f"{part['seconds']:.1f}", f"{part['cpu_seconds']:.1f}", f"{part['peak_mb']:.0f}")
        lines.append(_row(name, f"{part['calls']:.0f}", f"{part['frames']:.0f}", *own, *other))
    return lines


def _standards_too(peer: Mapping[str, Result], name: str) -> dict[str, float] | None:
    """The peer has recipes of their own for standards and objects; ours take both."""
    recipe, arm = name.split()
    same = [part for key, part in peer.items() if key.split()[0].startswith(recipe) and key.endswith(arm)]
    if not same:
        return None
    total = {name: sum(part[name] for part in same) for name in ("seconds", "cpu_seconds")}
    return total | {"peak_mb": max(part["peak_mb"] for part in same)}


def accuracy_table(accuracy: Sequence[Mapping[str, object]]) -> list[str]:
    """Rows of (arm, what, figure, ours, theirs)."""
    lines = _head("arm", "product", "figure", "soxs", "soxspipe")
    for row in accuracy:
        values = (("" if row[who] is None else f"{row[who]:.3g}") for who in ("ours", "peer"))
        lines.append(_row(row["arm"], row["product"], row["figure"], *values))
    return lines


def _start_up_lines(result: Result) -> Iterator[str]:
    seconds = result["start_up"]
    slowest = max(seconds, key=seconds.get)
    loaded = result.get("start_up_loads", "declaration and numerics")
    yield (
        f"From the start of the interpreter until a recipe's {loaded} are loaded: "
        f"{min(seconds.values()):.2f} to {seconds[slowest]:.2f} s ({slowest})."
    )


def _growth_lines(seconds: Mapping[str, float]) -> Iterator[str]:
    nights = sorted(int(number) for number in seconds)
    yield from _head("nights", "wall [s]", "per night [s]")
    for number in nights:
        yield _row(number, f"{seconds[str(number)]:.0f}", f"{seconds[str(number)] / number:.1f}")
    first, last = nights[0], nights[-1]
    slope = (seconds[str(last)] - seconds[str(first)]) / (last - first)
    yield ""
    yield f"Each further night costs {slope:.0f} s, {slope / seconds[str(first)]:.2f} of the first."
