"""The little of MoML, the language of Kepler's workflows, that a Reflex workflow needs.

A workflow is an entity; it holds properties, ports, entities, and relations that link ports (DTD of MoML 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

__all__ = ["COMPOSITE", "Entity", "Link", "Port", "Property", "Relation", "annotation", "location", "moml_text"]

COMPOSITE = "ptolemy.actor.TypedCompositeActor"
_PORT = "ptolemy.actor.TypedIOPort"
_RELATION = "ptolemy.actor.TypedIORelation"
_PARAMETER = "ptolemy.data.expr.Parameter"
_HEAD = """<?xml version="1.0" standalone="no"?>
<!DOCTYPE entity PUBLIC "-//UC Berkeley//DTD MoML 1//EN"
    "http://ptolemy.eecs.berkeley.edu/xml/dtd/MoML_1.dtd">
"""


@dataclass(frozen=True, slots=True)
class Property:
    """A named attribute: `value` None for none."""

    name: str
    class_name: str
    value: str | None = None
    properties: tuple[Property, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """A port of an actor; a multiport takes several relations, each a channel of its own."""

    name: str
    is_input: bool
    is_multiport: bool = False
    place: Property | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An end of a relation: a port of an entity, or of the composite itself when `entity` is ""."""

    entity: str
    port: str

    @property
    def text(self) -> str:
        """As MoML writes it."""
        return f"{self.entity}.{self.port}" if self.entity else self.port


@dataclass(frozen=True, slots=True)
class Relation:
    """A wire between ports; several channels wide where it goes on from a multiport of the composite."""

    name: str
    links: tuple[Link, ...]
    width: int = 1


@dataclass(slots=True)
class Entity:
    """An actor or, with the class COMPOSITE, a box of actors.

    Attributes
    ----------
    name : str
        Without dots.
    class_name : str
    properties : list of Property
    ports : list of Port
        Of a composite, or those that an actor gets by its configuration.
    entities : list of Entity
    relations : list of Relation
    """

    name: str
    class_name: str = COMPOSITE
    properties: list[Property] = field(default_factory=list)
    ports: list[Port] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)

    def add(self, entity: Entity) -> Entity:
        """Put an entity into this one; the entity."""
        self.entities.append(entity)
        return entity

    def connect(self, *ends: tuple[str, str], width: int = 1) -> None:
        """Link (entity, port) pairs by one relation; the entity "" is this one."""
        name = f"relation{len(self.relations) + 1}"
        self.relations.append(Relation(name, tuple(Link(*end) for end in ends), width))


def location(x: float, y: float) -> Property:
    """Where something stands on the canvas [px], y downwards."""
    return Property("_location", "ptolemy.kernel.util.Location", f"[{x:g}, {y:g}]")


def annotation(name: str, text: str, x: float, y: float, size: int = 14, color: str = "black") -> Property:
    """Words on the canvas."""
    inner = (
        Property("textSize", _PARAMETER, str(size)),
        Property("textColor", "ptolemy.actor.gui.ColorAttribute", _COLORS[color]),
        Property("text", "ptolemy.kernel.util.StringAttribute", text),
        location(x, y),
    )
    return Property(name, "ptolemy.vergil.kernel.attributes.TextAttribute", None, inner)


_COLORS = {"black": "{0.0, 0.0, 0.0, 1.0}", "blue": "{0.0, 0.0, 0.7, 1.0}"}


def moml_text(workflow: Entity) -> str:
    """The workflow as a MoML file."""
    return _HEAD + "\n".join(_entity(workflow, 0)) + "\n"


def _tag(element: str, name: str, class_name: str, value: str | None = None) -> str:
    text = f"<{element} name={quoteattr(name)} class={quoteattr(class_name)}"
    # Line ends must survive in attributes.
    return text if value is None else text + f" value={quoteattr(value, {chr(10): '&#10;'})}"


def _entity(entity: Entity, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}{_tag('entity', entity.name, entity.class_name)}>"
    for entry in entity.properties:
        yield from _property(entry, depth + 1)
    for port in entity.ports:
        yield from _port(port, depth + 1)
    for inner in entity.entities:
        yield from _entity(inner, depth + 1)
    for relation in entity.relations:
        yield f"{indent}  {_tag('relation', relation.name, _RELATION)}>"
        yield from _property(Property("width", _PARAMETER, str(relation.width)), depth + 2)
        yield f"{indent}  </relation>"
    for relation in entity.relations:
        for link in relation.links:
            yield f"{indent}  <link port={quoteattr(link.text)} relation={quoteattr(relation.name)}/>"
    yield f"{indent}</entity>"


def _property(entry: Property, depth: int) -> Iterator[str]:
    indent = "  " * depth
    opening = f"{indent}{_tag('property', entry.name, entry.class_name, entry.value)}"
    if not entry.properties:
        yield f"{opening}/>"
        return
    yield f"{opening}>"
    for inner in entry.properties:
        yield from _property(inner, depth + 1)
    yield f"{indent}</property>"


def _port(port: Port, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield f"{indent}{_tag('port', port.name, _PORT)}>"
    yield f'{indent}  <property name="{"input" if port.is_input else "output"}"/>'
    if port.is_multiport:
        yield f'{indent}  <property name="multiport"/>'
    if port.place:
        yield from _property(port.place, depth + 1)
    yield f"{indent}</port>"
