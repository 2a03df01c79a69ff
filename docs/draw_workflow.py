"""Draw the canvas of the Reflex workflow, from the places that the workflow gives its boxes.

python docs/draw_workflow.py            writes docs/images/reflex.png and docs/images/reflex_step.png
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from soxs_recipes.integration.moml import COMPOSITE, Entity, Property
from soxs_recipes.integration.reflex import reflex_workflow

FOLDER = Path(__file__).parent / "images"
_BOX = (150.0, 50.0)
_COLORS = {"composite": "#dbe9f6", "actor": "#fdf3d8", "port": "#dddddd"}


def _place(properties: list[Property] | tuple[Property, ...]) -> tuple[float, float] | None:
    text = next((entry.value for entry in properties if entry.name == "_location"), None)
    return None if text is None else tuple(float(number) for number in text.strip("[]").split(","))


def draw(entity: Entity) -> Figure:
    """The inside of a composite actor as a figure."""
    places = {inner.name: _place(inner.properties) for inner in entity.entities}
    places |= {f".{port.name}": _place([port.place]) for port in entity.ports if port.place}
    texts = [(entry, _place(entry.properties)) for entry in entity.properties if _place(entry.properties)]
    xs, ys = zip(*places.values(), *(place for _, place in texts), strict=True)
    width, height = max(xs) - min(xs) + 300, max(ys) - min(ys) + 160
    figure = Figure(figsize=(width / 220, height / 220), dpi=130)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(min(xs) - 90, min(xs) - 90 + width), ylim=(min(ys) - 60 + height, min(ys) - 60))
    axes.axis("off")
    for relation in entity.relations:
        first = places[relation.links[0].entity or f".{relation.links[0].port}"]
        for link in relation.links[1:]:
            last = places[link.entity or f".{link.port}"]
            axes.plot((first[0], last[0]), (first[1], last[1]), color="#8899aa", lw=0.35, alpha=0.6, zorder=1)
    for inner in entity.entities:
        kind = "composite" if inner.class_name == COMPOSITE else "actor"
        _box(axes, places[inner.name], inner.name, inner.class_name.rpartition(".")[2], _COLORS[kind])
    for port in entity.ports:
        if port.place:
            _box(axes, places[f".{port.name}"], port.name, "port", _COLORS["port"])
    for entry, (x, y) in texts:
        _text(axes, entry, x, y)
    return figure


def _box(axes, place: tuple[float, float], name: str, kind: str, color: str) -> None:
    from matplotlib.patches import Rectangle

    x, y = place
    axes.add_patch(
        Rectangle(
            (x - _BOX[0] / 2, y - _BOX[1] / 2), *_BOX, facecolor=color, edgecolor="#445566", lw=0.5, zorder=2
        )
    )
    axes.text(x, y - 4, name, ha="center", va="center", fontsize=4.5, zorder=3)
    axes.text(x, y + 14, kind, ha="center", va="center", fontsize=2.8, color="#667788", zorder=3)


def _text(axes, entry: Property, x: float, y: float) -> None:
    inner = {part.name: part.value for part in entry.properties}
    if "text" in inner:
        size = 0.35 * float(inner["textSize"])
        axes.text(x, y, inner["text"], fontsize=size, va="top", color="#203070", parse_math=False)
    else:
        text = f"{entry.name}: {entry.value}" if entry.value is not None else entry.name
        axes.text(x, y, text, fontsize=4.2, va="center", parse_math=False)


if __name__ == "__main__":
    workflow = reflex_workflow()
    FOLDER.mkdir(exist_ok=True)
    draw(workflow).savefig(FOLDER / "reflex.png")
    flat = next(entity for entity in workflow.entities if entity.name == "Flat")
    draw(flat).savefig(FOLDER / "reflex_step.png")
