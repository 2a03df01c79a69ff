"""The actors of Reflex that the workflow uses: classes, ports and properties.

Reflex is not to be had without ESO, so this table is what is known of its actors from their use in public
workflows and from documents. What is marked `assumed` stands in neither: who has Reflex at hand puts it right
here, and `make workflows` writes the workflow anew. That the properties of ESO's actors are texts and files is
assumed throughout.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from soxs_recipes.integration.moml import COMPOSITE, Entity, Port, Property

__all__ = ["ACTORS", "KNOWN_ATTRIBUTES", "KNOWN_CLASSES", "Actor", "actor"]

_TEXT = "ptolemy.data.expr.StringParameter"
_FILE = "ptolemy.data.expr.FileParameter"
_VALUE = "ptolemy.data.expr.Parameter"
_WORD = "ptolemy.kernel.util.StringAttribute"


@dataclass(frozen=True, slots=True)
class Actor:
    """A class of actors.

    Attributes
    ----------
    class_name : str
    inputs, outputs : tuple of str
        Names of its ports; a name that ends in `*` is a multiport's.
    properties : tuple of (name, class)
        That may be set.
    assumed : tuple of str
        Names of those ports and properties for which there is no evidence.
    adds_ports : bool
        Whether its configuration gives it more ports.
    """

    class_name: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    assumed: tuple[str, ...] = ()
    adds_ports: bool = False

    @property
    def ports(self) -> dict[str, Port]:
        """Its ports by name."""
        named = [(name, True) for name in self.inputs] + [(name, False) for name in self.outputs]
        return {name.rstrip("*"): Port(name.rstrip("*"), is_input, name.endswith("*")) for name, is_input in named}


_PTOLEMY = "ptolemy.actor.lib"
ACTORS = {
    actor.class_name: actor
    for actor in (
        Actor(
            "org.eso.DataOrganizer",
            ("input data",),
            ("datasets out",),
            (("OCA File", _FILE), ("Lazy Mode", _TEXT), ("Bookkeeping Dir", _FILE)),
        ),
        Actor(
            "org.eso.DataSetChooser",
            ("datasets in",),
            ("dataset out", "#selected"),
            (("Selection mode", _TEXT), ("Bookkeeping DB", _FILE), ("FITS Viewer", _TEXT)),
        ),
        Actor("org.eso.CurrentDataSet", ("dataset in",), ("sof out",), assumed=("dataset in", "sof out")),
        Actor("org.eso.FitsRouter", ("sof in",), ("sof rejected",), assumed=("sof in",), adds_ports=True),
        Actor("org.eso.SofSplitter", ("sof in",), ("sof out", "#groups"), assumed=("sof in", "sof out")),
        Actor("org.eso.SofAccumulator", ("sof in", "#groups"), ("sof out",), assumed=("sof in", "sof out")),
        Actor(
            "org.eso.SofCombiner",
            ("sof in*", "sof in opt*"),
            ("sof out",),
            (("IgnorePurpose", _TEXT),),
            assumed=("sof out",),
        ),
        Actor("org.eso.SopCreator", ("string",), ("sop out",), assumed=("string", "sop out")),
        Actor(
            "org.eso.RecipeExecuter",
            ("sof in", "sop in"),
            ("sof out", "sop out"),
            (
                ("Recipe Failure Mode", _TEXT),
                ("mode", _TEXT),
                ("File Purpose Processing", _TEXT),
                ("Lazy Mode", _TEXT),
                ("Allow empty inputs", _TEXT),
                ("EsoRex default args", _TEXT),
                ("Products Dir", _FILE),
                ("Logs Dir", _FILE),
                ("Bookkeeping Dir", _FILE),
            ),
        ),
        Actor(
            "org.eso.RecipeLooper",
            ("sof in", "sop in", "sof loop", "sop loop", "iteration complete"),
            ("sof out", "sop out"),
            (("Actor name", _TEXT),),
        ),
        Actor("org.eso.PythonActor", properties=(("Python script", _FILE),), adds_ports=True),
        Actor("org.eso.ProductExplorer", ("sof in",), (), (("mode", _TEXT),), assumed=("sof in", "mode")),
        Actor(
            f"{_PTOLEMY}.StringConst",
            ("trigger*",),
            ("output",),
            (("value", _VALUE), ("firingCountLimit", _VALUE)),
        ),
        Actor(f"{_PTOLEMY}.SetVariable", ("input",), ("output",), (("variableName", _WORD), ("delayed", _VALUE))),
    )
}
# All classes of actors that public workflows of ESO use.
KNOWN_CLASSES = frozenset(
    {
        COMPOSITE,
        *(
            f"org.eso.{name}"
            for name in (
                "DataOrganizer", "DataSetChooser", "CurrentDataSet", "FitsRouter", "SofSplitter", "SofAccumulator",
                "SofCombiner", "SofCreator", "IsSofEmpty", "ModifyPurpose", "DataFilter", "RecipeExecuter",
                "RecipeLooper", "SopCreator", "PythonActor", "ProductExplorer", "ObjectToText",
            )
        ),
        *(
            f"{_PTOLEMY}.{name}"
            for name in (
                "StringConst", "SetVariable", "BooleanSwitch", "Synchronizer", "Select", "Counter", "Exec",
                "string.StringCompare", "gui.Display", "python.PythonScript",
            )
        ),
        "ptolemy.domains.ddf.lib.DDFBooleanSelect",
        "ptolemy.domains.sdf.lib.SampleDelay",
        "org.resurgence.actor.StringAccumulator",
        "org.resurgence.actor.DirectoryMaker",
        "org.resurgence.actor.StringToInt",
        "org.sdm.spa.Timestamp",
        "org.geon.FileWrite",
    }
)  # fmt: skip

# Classes of properties: Ptolemy's own.
KNOWN_ATTRIBUTES = frozenset(
    {
        _TEXT,
        _FILE,
        _VALUE,
        _WORD,
        "ptolemy.kernel.util.Location",
        "ptolemy.kernel.attributes.VersionAttribute",
        "ptolemy.vergil.kernel.attributes.TextAttribute",
        "ptolemy.actor.gui.ColorAttribute",
        "ptolemy.domains.ddf.kernel.DDFDirector",
    }
)


def actor(
    name: str,
    kind: str,
    place: Property,
    ports: tuple[Port, ...] = (),
    more: Iterable[Property] = (),
    **values: str,
) -> Entity:
    """An actor of a class whose last word is `kind`; properties are given with `_` for blanks.

    Parameters
    ----------
    name, kind : str
    place : Property
        Its location.
    ports : tuple of Port
        Those that its configuration adds.
    more : iterable of Property
        Its configuration.
    **values : str
        Properties that the class knows. KeyError for others.
    """
    (found,) = (entry for entry in ACTORS.values() if entry.class_name.rpartition(".")[2] == kind)
    known = {known_name.replace(" ", "_"): (known_name, class_name) for known_name, class_name in found.properties}
    settings = [Property(*known[key], value) for key, value in values.items()]
    if ports and not found.adds_ports:
        raise KeyError(f"{kind} gets no ports by its configuration")
    return Entity(name, found.class_name, [*settings, *more, place], list(ports))
