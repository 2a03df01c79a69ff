"""The box of one task in the Reflex workflow: what goes in, the recipe, its parameters, its review."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from soxs_recipes.integration.actors import actor
from soxs_recipes.integration.moml import Entity, Port, Property, annotation, location
from soxs_recipes.integration.steps import Step
from soxs_recipes.recipes.framework.declarations import Declaration, Parameter

__all__ = ["INITIAL_PARAMETERS", "REVIEWED", "REVIEW_INPUTS", "REVIEW_OUTPUTS", "BoxPlan", "box", "title_of"]

# Recipes whose result a person may judge in a window, by `workflows/review/<recipe>.py`.
REVIEWED = (
    "soxs_disp_solution",
    "soxs_mflat",
    "soxs_spatial_solution",
    "soxs_stare",
    "soxs_nod",
    "soxs_offset",
    "soxs_response",
)
REVIEW_INPUTS = ("in_sof", "in_sop", "in_sof_rec_orig", "enable")
REVIEW_OUTPUTS = (
    "out_sof", "out_sop", "out_sof_loop", "out_sop_loop", "iteration_complete", "set_enable", "set_init_sop",
)  # fmt: skip
# The variable of a box that holds the parameters with which the recipe begins.
INITIAL_PARAMETERS = "InitialParameters"
_NEXT_PARAMETERS = "$SCRIPTS/soxs_next_parameters.py"
_TEXT = "ptolemy.data.expr.StringParameter"
_LINE = 100
_Y, _BELOW, _FAR_BELOW = 260, 400, 520
_STRIDE = 190
# Words of the canvas.
_NOTE = "{synopsis}\n\nParameters: double-click the box outside, or change init_... here."
_NOTE_REVIEW = " EnableInteractivity true opens a window in which the result is judged and repeated."


def title_of(name: str) -> str:
    """`soxs_disp_solution` -> Disp solution."""
    return name.removeprefix("soxs_").replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True)
class BoxPlan:
    """What a box is made from: the steps of one task in all arms.

    Attributes
    ----------
    steps : tuple of Step
    shares_main : bool
        Whether what starts it serves other tasks as well.
    """

    steps: tuple[Step, ...]
    shares_main: bool = False

    @property
    def action(self) -> str:
        """What the names of its actions begin with."""
        return self.steps[0].name.removesuffix(self.steps[0].arm)

    @property
    def name(self) -> str:
        """Of the task."""
        return self.steps[0].task.name

    @property
    def title(self) -> str:
        """Name of the box."""
        return title_of(self.name)

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return self.steps[0].declaration.name

    @property
    def declaration(self) -> Declaration:
        """Of the recipe."""
        return self.steps[0].declaration

    @property
    def route(self) -> str:
        """The router's port of the frames that start it."""
        return self.name

    @property
    def extra_route(self) -> str:
        """The router's port of raw frames that go with them."""
        return f"{self.name}_extra"

    @property
    def from_products(self) -> bool:
        """Whether products start it."""
        return self.steps[0].from_products

    @property
    def is_result(self) -> bool:
        """Whether an observer wants its products."""
        task = self.steps[0].task
        return task.is_target or self.steps[0].is_final or task.is_standard or self.name == "response"

    @property
    def main_tags(self) -> tuple[str, ...]:
        """Categories that start it."""
        return _union(step.main for step in self.steps)

    @property
    def extra_tags(self) -> tuple[str, ...]:
        """Categories of raw frames that go with them."""
        return _union([s.tag for s in step.selections if s.is_raw] for step in self.steps)

    @property
    def calibration_tags(self) -> tuple[str, ...]:
        """Categories of products and tables that it takes."""
        return _union([s.tag for s in step.selections if not s.is_raw] for step in self.steps)

    @property
    def main_from(self) -> tuple[str, ...]:
        """Tasks whose products start it."""
        return self.steps[0].main_from

    @property
    def sources(self) -> tuple[str, ...]:
        """Tasks whose products it takes as calibrations."""
        return _union(step.sources for step in self.steps)

    @property
    def channels(self) -> int:
        """Wires that come to its port of calibrations: the router's two, and one from each source."""
        return bool(self.calibration_tags) + bool(self.extra_tags) + len(self.sources)

    @property
    def is_reviewed(self) -> bool:
        """Whether a person may judge the result."""
        return self.recipe in REVIEWED

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those that the box shows: an empty text cannot be handed on."""
        return tuple(p for p in self.declaration.parameters if str(p.default) != "")


def _union(lists: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def box(plan: BoxPlan, number: int, x: float, y: float) -> Entity:
    """The composite actor of a task at a place of the canvas; it is the recipe's `number`th."""
    entity = Entity(plan.title, properties=[location(x, y)])
    entity.properties += _settings(plan)
    entity.ports += [
        Port("main in", is_input=True, is_multiport=plan.from_products, place=location(20, _Y)),
    ]
    if plan.channels:
        place = location(20, _Y + 80)
        entity.ports.append(Port("calibrations in", is_input=True, is_multiport=True, place=place))
    x = _entrance(entity, plan)
    end = x + (3.8 if plan.is_reviewed else 2.4) * _STRIDE
    entity.ports.append(Port("products out", is_input=False, place=location(end + _STRIDE, _Y)))
    entity.add(actor("Collect", "SofAccumulator", location(end, _Y)))
    _run(entity, plan, number, x)
    return entity


def _settings(plan: BoxPlan) -> Iterable[Property]:
    text = _NOTE.format(synopsis=plan.declaration.synopsis) + (_NOTE_REVIEW if plan.is_reviewed else "")
    yield annotation("Note", "\n".join(_wrapped(text)), 20, 20)
    y = 640
    yield annotation("Parameters", f"Parameters of {plan.recipe}", 20, y, 14, "blue")
    text = "\n".join(f"{plan.recipe}:{p.name}=$({_initial(p)})" for p in plan.parameters)
    yield Property(INITIAL_PARAMETERS, _TEXT, text)
    if plan.is_reviewed:
        y += 40
        yield Property("EnableInteractivity", _TEXT, "$GlobalPlotInteractivity", (location(40, y),))
    for parameter in plan.parameters:
        y += 40
        yield Property(_initial(parameter), _TEXT, _value(parameter), (location(40, y),))
        yield annotation(f"About {_initial(parameter)}", _meaning(parameter), 420, y, 11)


def _wrapped(text: str) -> Iterable[str]:
    for line in text.splitlines():
        yield from textwrap.wrap(line, _LINE) or [""]


def _initial(parameter: Parameter) -> str:
    return f"init_{parameter.name.replace('-', '_')}"


def _value(parameter: Parameter) -> str:
    return str(parameter.default).lower() if parameter.type is bool else str(parameter.default)


def _meaning(parameter: Parameter) -> str:
    details = [parameter.unit and f"unit {parameter.unit}", parameter.range_text()]
    details = "; ".join(filter(None, details))
    return "\n".join(textwrap.wrap(parameter.sentence + (f" [{details}]" if details else ""), _LINE))


def _entrance(entity: Entity, plan: BoxPlan) -> float:
    """Frames and calibrations of one purpose that the recipe takes; gives where the next actor stands."""
    x = 20 + _STRIDE
    source = ("", "main in")
    if plan.from_products:
        entity.add(actor("Merge", "SofCombiner", location(x, _Y), IgnorePurpose="true"))
        entity.connect(source, ("Merge", "sof in"), width=len(plan.main_from))
        source, x = ("Merge", "sof out"), x + _STRIDE
    if plan.shares_main:
        source, x = _own_purposes(entity, plan, source, x), x + _STRIDE
    if plan.channels:
        entity.add(actor("Combine", "SofCombiner", location(x, _Y)))
        entity.connect(source, ("Combine", "sof in"))
        entity.connect(("", "calibrations in"), ("Combine", "sof in opt"), width=plan.channels)
        source, x = ("Combine", "sof out"), x + _STRIDE
    tags = _union((plan.main_tags, plan.extra_tags, plan.calibration_tags))
    setting = Property("inputs_config", _TEXT, ",".join(tags))
    ports = (Port("inputs", is_input=False),)
    entity.add(actor("Known Categories", "FitsRouter", location(x, _Y), ports, [setting]))
    entity.add(actor("Split", "SofSplitter", location(x + _STRIDE, _Y)))
    entity.connect(source, ("Known Categories", "sof in"))
    entity.connect(("Known Categories", "inputs"), ("Split", "sof in"))
    return x + 2 * _STRIDE


def _own_purposes(entity: Entity, plan: BoxPlan, source: tuple[str, str], x: float) -> tuple[str, str]:
    """Keep files only for what this task makes of them: another takes the same ones for something else."""
    ports = (Port("in_sof", is_input=True), Port("action", is_input=True), Port("out_sof", is_input=False))
    script = "$SCRIPTS/soxs_own_purposes.py"
    entity.add(actor("Own Purposes", "PythonActor", location(x, _Y), ports, Python_script=script))
    entity.add(actor("Action", "StringConst", location(x, _Y - 100), value=plan.action))
    entity.connect(source, ("Own Purposes", "in_sof"), ("Action", "trigger"))
    entity.connect(("Action", "output"), ("Own Purposes", "action"))
    return "Own Purposes", "out_sof"


def _run(entity: Entity, plan: BoxPlan, number: int, x: float) -> None:
    """The recipe with its parameters, and with the review where there is one."""
    executer = f"{plan.recipe}_{number}"
    place = location(x - _STRIDE, _BELOW)
    entity.add(actor("Initial Parameters", "StringConst", place, value=f"${INITIAL_PARAMETERS}"))
    entity.add(actor("Set of Parameters", "SopCreator", location(x, _BELOW)))
    entity.add(_executer(plan, executer, x + 1.2 * _STRIDE))
    entity.connect(("Initial Parameters", "output"), ("Set of Parameters", "string"))
    entity.connect(("Split", "#groups"), ("Collect", "#groups"))
    entity.connect(("Collect", "sof out"), ("", "products out"))
    if plan.is_reviewed:
        _review(entity, plan, executer, x)
        return
    entity.connect(("Split", "sof out"), (executer, "sof in"), ("Initial Parameters", "trigger"))
    entity.connect(("Set of Parameters", "sop out"), (executer, "sop in"))
    entity.connect((executer, "sof out"), ("Collect", "sof in"))


def _review(entity: Entity, plan: BoxPlan, executer: str, x: float) -> None:
    """The loop in which a person sees the result and may repeat the recipe with other parameters."""
    ports = (*(Port(name, True) for name in REVIEW_INPUTS), *(Port(name, False) for name in REVIEW_OUTPUTS))
    script = f"$REVIEW_SCRIPTS/{plan.recipe}.py"
    entity.add(actor("Repeat", "RecipeLooper", location(x, _Y), Actor_name="Review"))
    entity.add(actor("Review", "PythonActor", location(x + 2.4 * _STRIDE, _Y), ports, Python_script=script))
    place = location(x + 1.7 * _STRIDE, _BELOW)
    entity.add(actor("Interactive", "StringConst", place, value="$EnableInteractivity"))
    _remember(entity, "Remember Window", "EnableInteractivity", ("Review", "set_enable"), x + 3 * _STRIDE, _BELOW)
    ports = (Port("in_sop", is_input=True), Port("text", is_input=False))
    place = location(x + 2 * _STRIDE, _FAR_BELOW)
    entity.add(actor("Next Parameters", "PythonActor", place, ports, Python_script=_NEXT_PARAMETERS))
    entity.connect(("Review", "set_init_sop"), ("Next Parameters", "in_sop"))
    _remember(
        entity, "Remember Values", INITIAL_PARAMETERS, ("Next Parameters", "text"), x + 3 * _STRIDE, _FAR_BELOW
    )
    entity.connect(("Split", "sof out"), ("Repeat", "sof in"), ("Initial Parameters", "trigger"))
    entity.connect(("Set of Parameters", "sop out"), ("Repeat", "sop in"))
    entity.connect(("Repeat", "sof out"), (executer, "sof in"), ("Review", "in_sof_rec_orig"))
    entity.connect(("Repeat", "sop out"), (executer, "sop in"))
    entity.connect((executer, "sof out"), ("Review", "in_sof"), ("Interactive", "trigger"))
    entity.connect((executer, "sop out"), ("Review", "in_sop"))
    entity.connect(("Interactive", "output"), ("Review", "enable"))
    entity.connect(("Review", "out_sof_loop"), ("Repeat", "sof loop"))
    entity.connect(("Review", "out_sop_loop"), ("Repeat", "sop loop"))
    entity.connect(("Review", "iteration_complete"), ("Repeat", "iteration complete"))
    entity.connect(("Review", "out_sof"), ("Collect", "sof in"))


def _remember(entity: Entity, name: str, variable: str, source: tuple[str, str], x: float, y: float) -> None:
    """Set a variable of the box for the data sets that follow."""
    entity.add(actor(name, "SetVariable", location(x, y), variableName=variable, delayed="false"))
    entity.connect(source, (name, "input"))


def _executer(plan: BoxPlan, name: str, x: float) -> Entity:
    """The actor that runs the recipe: its name is the recipe's, with a number."""
    task = plan.steps[0].task
    values = [Property(f"recipe_param_{n}", _TEXT, f"{p.name}=PORT") for n, p in enumerate(plan.parameters, 1)]
    return actor(
        name,
        "RecipeExecuter",
        location(x, _Y),
        (),
        values,
        Recipe_Failure_Mode="$RecipeFailureMode",
        mode="$OptionalSteps" if task.optional else "Run",
        # What is made of an observer's frames keeps their purpose, so that checks get the same calibrations.
        File_Purpose_Processing="Do nothing" if task.is_target else "Strip last",
        Lazy_Mode="$GlobalReusePreviousExecution",
        Allow_empty_inputs="true",
        EsoRex_default_args="$ESORexArgs",
        Products_Dir="$TMP_PRODUCTS_DIR",
        Logs_Dir="$LOGS_DIR",
        Bookkeeping_Dir="$BOOKKEEPING_DIR",
    )
