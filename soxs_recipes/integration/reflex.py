"""`soxs.xml`: the Reflex workflow, a box of actors for each task of the cascade.

The data organiser gives each file its *purposes*: the chain of actions for which it is needed. A box takes the
frames that start its task and, of the calibrations offered to it, those with the same purposes; it splits them by
purpose, runs the recipe on each part and collects the products. What nothing needs reaches a box as an empty set,
on which no recipe runs. Both arms go through the same boxes: their frames never share a purpose.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soxs_recipes.integration.actors import actor
from soxs_recipes.integration.boxes import BoxPlan, box, title_of
from soxs_recipes.integration.moml import Entity, Port, Property, annotation, location, moml_text
from soxs_recipes.integration.steps import Step, steps

__all__ = ["TOKENS", "reflex_workflow", "workflow_text"]

# Words that the installation replaces.
TOKENS = {
    "ROOT_DATA_DIR": "ROOT_DATA_PATH_TO_REPLACE",
    "CALIB_DATA_DIR": "CALIB_DATA_PATH_TO_REPLACE",
    "WORKFLOW_DIR": "WORKFLOW_PATH_TO_REPLACE",
}
_FILE = "ptolemy.data.expr.FileParameter"
_TEXT = "ptolemy.data.expr.StringParameter"
_VARIABLES = (
    (
        "Where your data are: change these",
        (
            ("ROOT_DATA_DIR", _FILE, TOKENS["ROOT_DATA_DIR"]),
            ("RAW_DATA_DIR", _FILE, "$ROOT_DATA_DIR/reflex_input/soxs"),
            ("CALIB_DATA_DIR", _FILE, TOKENS["CALIB_DATA_DIR"]),
            ("END_PRODUCTS_DIR", _FILE, "$ROOT_DATA_DIR/reflex_end_products"),
            ("END_PRODUCTS_SUBDIR", _TEXT, ""),
        ),
    ),
    (
        "Where the workflow works",
        (
            ("WORKFLOW_DIR", _FILE, TOKENS["WORKFLOW_DIR"]),
            ("OCA_FILE", _FILE, "$WORKFLOW_DIR/soxs.oca"),
            ("REVIEW_SCRIPTS", _FILE, "$WORKFLOW_DIR/review"),
            ("SCRIPTS", _FILE, "$WORKFLOW_DIR/scripts"),
            ("BOOKKEEPING_DIR", _FILE, "$ROOT_DATA_DIR/reflex_book_keeping/soxs"),
            ("BOOKKEEPING_DB", _FILE, "$BOOKKEEPING_DIR/bookkeeping.db"),
            ("LOGS_DIR", _FILE, "$ROOT_DATA_DIR/reflex_logs/soxs"),
            ("TMP_PRODUCTS_DIR", _FILE, "$ROOT_DATA_DIR/reflex_tmp_products/soxs"),
        ),
    ),
    (
        "How it runs",
        (
            ("SelectDatasetMethod", _TEXT, "Interactive"),
            ("GlobalPlotInteractivity", _TEXT, "true"),
            ("GlobalReusePreviousExecution", _TEXT, "true"),
            ("RecipeFailureMode", _TEXT, "Ask"),
            ("OptionalSteps", _TEXT, "Disabled"),
            ("ProductExplorerMode", _TEXT, "Triggered"),
            ("ProductCopyMode", _TEXT, "copy"),
            ("ESORexArgs", _TEXT, "--suppress-prefix=TRUE"),
            ("FITS_VIEWER", _TEXT, "fv"),
            ("N_SELECTED_DATASETS", _TEXT, "0"),
        ),
    ),
)
_SETUP_Y, _CHAIN_Y, _STEPS_Y = 60, 90, 330
_STEPS_X, _COLUMN, _ROW = 560, 250, 120


@dataclass(frozen=True, slots=True)
class _Place:
    column: int
    row: int

    @property
    def location(self) -> tuple[float, float]:
        return _STEPS_X + _COLUMN * self.column, _STEPS_Y + _ROW * self.row


def workflow_text() -> str:
    """Text of `soxs.xml`."""
    return moml_text(reflex_workflow())


def reflex_workflow(chosen: Sequence[Step] | None = None) -> Entity:
    """The workflow of the tasks of some steps, all by default."""
    plans = _plans(steps() if chosen is None else chosen)
    workflow = Entity("soxs", properties=list(_frame_of_the_canvas()))
    places = _places(plans)
    _chain(workflow, plans)
    uses: Counter[str] = Counter()
    for plan in plans:
        uses[plan.recipe] += 1
        workflow.add(box(plan, uses[plan.recipe], *places[plan.name].location))
    _wires(workflow, plans)
    _close(workflow, plans, 1 + max(place.column for place in places.values()))
    workflow.properties += _headings(plans, places)
    return workflow


def _plans(chosen: Sequence[Step]) -> list[BoxPlan]:
    """A box a task, whatever the arm."""
    by_task: dict[str, list[Step]] = {}
    for step in chosen:
        by_task.setdefault(step.task.name, []).append(step)
    selected = {selection.tag for step in chosen for selection in step.selections}
    made_for_others = {source for step in chosen for source in step.sources}
    return [
        BoxPlan(
            tuple(of_task),
            shares_main=any(not selected.isdisjoint(step.main) for step in of_task)
            or (not of_task[0].is_final and not made_for_others.isdisjoint(of_task[0].main_from)),
        )
        for of_task in by_task.values()
    ]


def _frame_of_the_canvas() -> Iterable[Property]:
    yield Property("_createdBy", "ptolemy.kernel.attributes.VersionAttribute", "11.1.devel")
    none = "ptolemy.data.expr.Parameter"
    director = (
        Property("iterations", none, "0"),
        Property("maximumReceiverCapacity", none, "0"),
        Property("runUntilDeadlockInOneIteration", none, "false"),
        location(20, 1130),
    )
    yield Property("DDF Director", "ptolemy.domains.ddf.kernel.DDFDirector", None, director)
    yield annotation("Title", "SOXS: from raw frames to spectra", 20, 10, 24, "blue")
    y = _SETUP_Y
    for number, (heading, variables) in enumerate(_VARIABLES, 1):
        yield annotation(f"Heading {number}", heading, 20, y, 16, "blue")
        for name, class_name, value in variables:
            y += 40
            yield Property(name, class_name, value, (location(40, y),))
        y += 60


# -- from files to the boxes --------------------------------------------------------------------------------------


def _chain(workflow: Entity, plans: Sequence[BoxPlan]) -> None:
    """From the folders of data to the router, which hands each box its frames."""
    x = [_STEPS_X + 200 * number for number in range(5)]
    workflow.add(
        actor(
            "Initialise",
            "StringConst",
            location(x[0], _CHAIN_Y),
            value="$RAW_DATA_DIR,$CALIB_DATA_DIR",
            firingCountLimit="1",
        )
    )
    workflow.add(
        actor(
            "Data Organiser",
            "DataOrganizer",
            location(x[1], _CHAIN_Y),
            OCA_File="$OCA_FILE",
            Lazy_Mode="true",
            Bookkeeping_Dir="$BOOKKEEPING_DIR",
        )
    )
    workflow.add(
        actor(
            "Data Set Chooser",
            "DataSetChooser",
            location(x[2], _CHAIN_Y),
            Selection_mode="$SelectDatasetMethod",
            Bookkeeping_DB="$BOOKKEEPING_DB",
            FITS_Viewer="$FITS_VIEWER",
        )
    )
    workflow.add(actor("Initialise Current Dataset", "CurrentDataSet", location(x[3], _CHAIN_Y)))
    place = location(x[3], _CHAIN_Y + 90)
    workflow.add(
        actor("Count Data Sets", "SetVariable", place, variableName="N_SELECTED_DATASETS", delayed="false")
    )
    workflow.add(_router(plans, x[4]))
    workflow.connect(("Initialise", "output"), ("Data Organiser", "input data"))
    workflow.connect(("Data Organiser", "datasets out"), ("Data Set Chooser", "datasets in"))
    workflow.connect(("Data Set Chooser", "dataset out"), ("Initialise Current Dataset", "dataset in"))
    workflow.connect(("Data Set Chooser", "#selected"), ("Count Data Sets", "input"))
    workflow.connect(("Initialise Current Dataset", "sof out"), (_ROUTER, "sof in"))


_ROUTER = "Route by Category"


def _router(plans: Sequence[BoxPlan], x: float) -> Entity:
    routes = {"calibrations": tuple(dict.fromkeys(tag for plan in plans for tag in plan.calibration_tags))}
    for plan in plans:
        if not plan.from_products:
            routes[plan.route] = plan.main_tags
        if plan.extra_tags:
            routes[plan.extra_route] = plan.extra_tags
    ports = tuple(Port(name, is_input=False) for name in routes)
    settings = [Property(f"{name}_config", _TEXT, ",".join(tags)) for name, tags in routes.items()]
    return actor(_ROUTER, "FitsRouter", location(x, _CHAIN_Y), ports, settings)


def _wires(workflow: Entity, plans: Sequence[BoxPlan]) -> None:
    for plan in plans:
        if not plan.from_products:
            workflow.connect((_ROUTER, plan.route), (plan.title, "main in"))
        if plan.extra_tags:
            workflow.connect((_ROUTER, plan.extra_route), (plan.title, "calibrations in"))
    takers = [(plan.title, "calibrations in") for plan in plans if plan.calibration_tags]
    workflow.connect((_ROUTER, "calibrations"), *takers)
    for plan in plans:
        sinks = [(other.title, "main in") for other in plans if plan.name in other.main_from]
        sinks += [(other.title, "calibrations in") for other in plans if plan.name in other.sources]
        if plan.is_result:
            sinks.append((_CLOSE, "products in"))
        if sinks:
            workflow.connect((plan.title, "products out"), *sinks)


# -- the end ------------------------------------------------------------------------------------------------------

_CLOSE = "Close Data Set"


def _close(workflow: Entity, plans: Sequence[BoxPlan], column: int) -> None:
    """Bring the results under readable names, and show them."""
    x, y = _Place(column, 1).location
    close = Entity(_CLOSE, properties=[location(x, y)])
    close.ports += [
        Port("products in", is_input=True, is_multiport=True, place=location(20, 120)),
        Port("products out", is_input=False, place=location(760, 120)),
    ]
    close.properties.append(
        annotation(
            "Note",
            "All results of the data set go to END_PRODUCTS_DIR under names that tell what they are.",
            20,
            20,
        )
    )
    close.add(actor("Merge", "SofCombiner", location(160, 120), IgnorePurpose="true"))
    text = "\n".join(f"{name}=${variable}" for name, variable in _RENAMING.items())
    close.add(actor("Where To", "StringConst", location(320, 220), value=text))
    ports = (Port("in_sof", is_input=True), Port("settings", is_input=True), Port("out_sof", is_input=False))
    script = "$SCRIPTS/soxs_rename_products.py"
    close.add(actor("Product Renamer", "PythonActor", location(540, 120), ports, Python_script=script))
    results = sum(plan.is_result for plan in plans)
    close.connect(("", "products in"), ("Merge", "sof in"), width=results)
    close.connect(("Merge", "sof out"), ("Product Renamer", "in_sof"), ("Where To", "trigger"))
    close.connect(("Where To", "output"), ("Product Renamer", "settings"))
    close.connect(("Product Renamer", "out_sof"), ("", "products out"))
    workflow.add(close)
    explorer = location(x + _COLUMN, y)
    workflow.add(actor("Product Explorer", "ProductExplorer", explorer, mode="$ProductExplorerMode"))
    workflow.connect((_CLOSE, "products out"), ("Product Explorer", "sof in"))


_RENAMING = {"folder": "END_PRODUCTS_DIR", "subfolder": "END_PRODUCTS_SUBDIR", "mode": "ProductCopyMode"}


# -- the canvas ---------------------------------------------------------------------------------------------------


def _places(plans: Sequence[BoxPlan]) -> dict[str, _Place]:
    """Columns in the order of the cascade: each box right of all that it takes products from."""
    columns: dict[str, int] = {}
    rows: dict[int, int] = {}
    places = {}
    for plan in plans:
        before = [columns[name] for name in (*plan.main_from, *plan.sources) if name in columns]
        columns[plan.name] = 1 + max(before, default=-1)
        row = rows[columns[plan.name]] = rows.get(columns[plan.name], -1) + 1
        places[plan.name] = _Place(columns[plan.name], row)
    return places


def _headings(plans: Sequence[BoxPlan], places: dict[str, _Place]) -> list[Property]:
    found = []
    for column in range(1 + max(place.column for place in places.values())):
        inside = [plan for plan in plans if places[plan.name].column == column]
        x, y = _Place(column, 0).location
        text = f"Step {column + 1}\n" + ", ".join(dict.fromkeys(title_of(plan.recipe) for plan in inside))
        found.append(annotation(f"Step {column + 1}", _wrapped(text), x, y - 85, 14, "blue"))
    return found


def _wrapped(text: str, width: int = 26) -> str:
    return "\n".join(line for part in text.splitlines() for line in textwrap.wrap(part, width))
