"""Whether a Reflex workflow hangs together: the check that stands in for Reflex, which is not to be had here.

It knows the classes and ports of `actors`, the recipes of the registry, and the files beside the workflow. What
only Reflex itself can tell (whether an actor has the ports that `actors` assumes, what it does) it cannot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from soxs_recipes.instrument import load_instrument
from soxs_recipes.integration.actors import ACTORS, KNOWN_ATTRIBUTES, KNOWN_CLASSES
from soxs_recipes.integration.boxes import INITIAL_PARAMETERS
from soxs_recipes.integration.moml import COMPOSITE, Port
from soxs_recipes.integration.steps import declared
from soxs_recipes.recipes.framework.declarations import Declaration

__all__ = ["workflow_problems"]

_VARIABLE = re.compile(r"\$\(?([A-Za-z_]\w*)\)?")
# Inputs that need no wire.
_FREE_INPUTS = frozenset({"trigger", "sof in opt"})
_CLEARANCE = (60.0, 30.0)
_RECIPE_CLASS, _ROUTER_CLASS = "org.eso.RecipeExecuter", "org.eso.FitsRouter"


@dataclass
class _Node:
    """An entity with what it holds."""

    name: str
    class_name: str
    parent: _Node | None
    values: dict[str, str | None] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    nodes: dict[str, _Node] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    links: list[tuple[str, str]] = field(default_factory=list)
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"{self.parent.path}/{self.name}" if self.parent else self.name

    @property
    def all_nodes(self) -> Iterator[_Node]:
        yield self
        for node in self.nodes.values():
            yield from node.all_nodes

    @property
    def variables(self) -> dict[str, str]:
        """Those in sight, with their text."""
        outer = self.parent.variables if self.parent else {}
        return outer | {name: value for name, value in self.values.items() if value is not None}

    def end(self, link: str) -> tuple[Port | None, bool]:
        """(port of a link, whether it puts tokens onto the relation); None when there is no such port."""
        entity, dot, name = link.partition(".")
        if not dot:
            port = self.ports.get(link)
            return port, bool(port and port.is_input)
        node = self.nodes.get(entity)
        port = node.ports.get(name) if node else None
        return port, bool(port and not port.is_input)


def workflow_problems(text: str, folder: Path) -> list[str]:
    """What is wrong with a workflow, one line each; empty when nothing is.

    Parameters
    ----------
    text : str
        The MoML file.
    folder : Path
        What `WORKFLOW_DIR` stands for.
    """
    try:
        element = ET.fromstring(text)  # noqa: S314 - our own file
    except ET.ParseError as error:
        return [f"not well-formed: {error}"]
    if element.tag != "entity":
        return [f"the root is no entity but {element.tag}"]
    root = _node(element, None)
    declarations = declared()
    attributes = {entry.get("class") for entry in element.iter("property")} - KNOWN_ATTRIBUTES - {None}
    problems = [f"class {name} is no known property" for name in sorted(attributes)]
    for node in root.all_nodes:
        checks = (_names, _classes, _wires, _inputs, _variables, _routers, _loops, _overlaps)
        problems += [f"{node.path}: {problem}" for check in checks for problem in check(node)]
        problems += [f"{node.path}: {problem}" for problem in _recipe(node, declarations)]
        problems += [f"{node.path}: {problem}" for problem in _files(node, folder)]
    return problems + _routes(root, declarations)


# -- reading ------------------------------------------------------------------------------------------------------


def _node(element: ET.Element, parent: _Node | None) -> _Node:
    node = _Node(element.get("name", ""), element.get("class", ""), parent)
    if node.class_name in ACTORS:
        node.ports.update(ACTORS[node.class_name].ports)
    names = Counter()
    for child in element:
        name = child.get("name", "")
        if child.tag != "link":
            names[child.tag == "relation", name] += 1
        if child.tag == "property":
            node.values[name] = child.get("value")
        elif child.tag == "port":
            node.ports[name] = _port(child)
        elif child.tag == "entity":
            node.nodes[name] = _node(child, node)
        elif child.tag == "relation":
            node.widths[name] = int(_inner(child, "width") or 1)
        elif child.tag == "link":
            node.links.append((child.get("port", ""), child.get("relation", "")))
        if child.tag in ("property", "port", "entity") and (place := _inner(child, "_location")):
            x, y = (float(number) for number in place.strip("[]{} ").split(","))
            node.places[name] = (x, y)
    node.twice = [name for (_, name), count in names.items() if count > 1]
    return node


def _inner(element: ET.Element, name: str) -> str | None:
    return next((child.get("value") for child in element.findall("property") if child.get("name") == name), None)


def _port(element: ET.Element) -> Port:
    flags = {child.get("name") for child in element.findall("property")}
    return Port(element.get("name", ""), "input" in flags, "multiport" in flags)


# -- structure ----------------------------------------------------------------------------------------------------


def _names(node: _Node) -> Iterator[str]:
    for name in node.twice:
        yield f"{name!r} stands twice"
    for name in (*node.nodes, *node.ports):
        if not name or "." in name:
            yield f"{name!r} cannot be a name"


def _classes(node: _Node) -> Iterator[str]:
    if node.class_name not in KNOWN_CLASSES:
        yield f"class {node.class_name} is not used by any public workflow"
    elif node.class_name != COMPOSITE and node.class_name not in ACTORS:
        yield f"ports of {node.class_name} are not in the table of actors"


def _wires(node: _Node) -> Iterator[str]:
    ends: dict[str, list[bool]] = {name: [] for name in node.widths}
    channels = dict.fromkeys(node.widths, 1)
    uses = Counter(link for link, _ in node.links)
    for link, relation in node.links:
        port, is_source = node.end(link)
        if port is None:
            yield f"no port {link}"
            continue
        if relation not in ends:
            yield f"{link} is linked to {relation}, which does not exist"
            continue
        ends[relation].append(is_source)
        if uses[link] > 1 and not port.is_multiport:
            yield f"{link} is no multiport and has {uses[link]} wires"
        if port.is_multiport and "." not in link:
            channels[relation] = sum(end == f"{node.name}.{link}" for end, _ in node.parent.links)
    for relation, sources in ends.items():
        if channels[relation] != node.widths[relation]:
            yield f"{relation} is {node.widths[relation]} wide, and {channels[relation]} wires come to it"
        if sources.count(True) != 1 or sources.count(False) < 1:
            yield f"{relation} has {sources.count(True)} sources and {sources.count(False)} sinks"


def _inputs(node: _Node) -> Iterator[str]:
    linked = {link for link, _ in node.links}
    for name, inner in node.nodes.items():
        for port in inner.ports.values():
            if port.is_input and port.name not in _FREE_INPUTS and f"{name}.{port.name}" not in linked:
                yield f"nothing comes to {name}.{port.name}"


def _variables(node: _Node) -> Iterator[str]:
    known = node.variables
    for name, value in node.values.items():
        for variable in _VARIABLE.findall(value or ""):
            if variable not in known:
                yield f"{name} = {value!r}: no variable {variable}"


def _loops(node: _Node) -> Iterator[str]:
    for looper in node.nodes.values():
        actor = looper.values.get("Actor name")
        if looper.class_name.endswith(".RecipeLooper") and actor not in node.nodes:
            yield f"{looper.name} names the actor {actor}, which is not there"
    named = node.values.get("variableName")
    if named and named not in node.variables:
        yield f"sets the variable {named}, which does not exist"


def _overlaps(node: _Node) -> Iterator[str]:
    entries = sorted(node.places.items(), key=lambda entry: entry[1])
    for number, (name, (x, y)) in enumerate(entries):
        for other, (x2, y2) in entries[number + 1 :]:
            if abs(x - x2) < _CLEARANCE[0] and abs(y - y2) < _CLEARANCE[1]:
                yield f"{name} and {other} lie on one another"


# -- what the workflow names --------------------------------------------------------------------------------------


def _files(node: _Node, folder: Path) -> Iterator[str]:
    for name, value in node.values.items():
        path = value or ""
        for _ in range(5):
            path = _VARIABLE.sub(lambda match: node.variables.get(match[1], match[0]), path)
        token = node.variables.get("WORKFLOW_DIR", "")
        if token and path.startswith(f"{token}/") and not (folder / path.removeprefix(f"{token}/")).exists():
            yield f"{name} = {value}: no {path.removeprefix(f'{token}/')} beside the workflow"


def _recipe(node: _Node, declarations: Mapping[str, Declaration]) -> Iterator[str]:
    if node.class_name != _RECIPE_CLASS:
        return
    recipe = _recipe_name(node)
    if recipe not in declarations:
        yield f"there is no recipe {recipe}"
        return
    known = {parameter.name for parameter in declarations[recipe].parameters}
    settings = {name: value for name, value in node.values.items() if name.startswith("recipe_param_")}
    if sorted(settings) != sorted(f"recipe_param_{number}" for number in range(1, len(settings) + 1)):
        yield "recipe_param_... are not numbered from 1 on"
    for name, value in settings.items():
        if (value or "").partition("=")[0] not in known:
            yield f"{name} = {value}: {recipe} has no such parameter"
    asked = {(value or "").partition("=")[0] for value in settings.values()}
    given = _initial_parameters(node.parent)
    if given != {f"{recipe}:{name}" for name in asked}:
        yield f"takes {sorted(asked)} from its port and is given {sorted(given)}"


def _recipe_name(node: _Node) -> str:
    return re.sub(r"_\d+$", "", node.name)


def _initial_parameters(box: _Node) -> set[str]:
    lines = (box.values.get(INITIAL_PARAMETERS) or "").splitlines()
    return {line.partition("=")[0] for line in lines if line}


def _routers(node: _Node) -> Iterator[str]:
    if node.class_name != _ROUTER_CLASS:
        return
    added = set(node.ports) - set(ACTORS[_ROUTER_CLASS].ports)
    configured = {name.removesuffix("_config") for name in node.values if name.endswith("_config")}
    for name in added ^ configured:
        yield f"{name} is {'a port without categories' if name in added else 'configured and no port'}"


def _routes(root: _Node, declarations: Mapping[str, Declaration]) -> list[str]:
    """Categories that no recipe behind the router takes."""
    arms, problems = load_instrument().arms, []
    for router in (node for node in root.all_nodes if node.class_name == _ROUTER_CLASS):
        for name, value in router.values.items():
            if not name.endswith("_config"):
                continue
            recipes = _recipes_behind(router, name.removesuffix("_config"))
            known = [declarations[recipe] for recipe in recipes if recipe in declarations]
            taken = set().union(*(declaration.taken_tags(arm) for declaration in known for arm in arms))
            unknown = [tag for tag in (value or "").split(",") if tag not in taken]
            if unknown:
                problems.append(f"{router.path}: {name}: nobody behind takes {', '.join(unknown)}")
    return problems


def _recipes_behind(router: _Node, port: str) -> set[str]:
    outside = router.parent
    wires = {relation for link, relation in outside.links if link == f"{router.name}.{port}"}
    boxes = {link.partition(".")[0] for link, relation in outside.links if relation in wires and "." in link}
    inside = [outside.nodes[name] for name in boxes - {router.name} if name in outside.nodes]
    composites = [node for node in inside if node.class_name == COMPOSITE] or [outside]
    return {_recipe_name(node) for box in composites for node in box.all_nodes if node.class_name == _RECIPE_CLASS}
