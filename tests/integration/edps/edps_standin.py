"""EDPS's builders as far as its public manuals tell, recording what a workflow asks of them.

Strict: what is not known to exist raises (an unknown method is an AttributeError, an unknown argument a TypeError,
an unknown name an ImportError), and so does what the manuals forbid. Sources: the workflow design guide as public
projects quote it, and ESO's own workflows.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import math
import sys
import types
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class WorkflowError(Exception):
    """The workflow asks for what EDPS would refuse."""


def check(condition, message):
    if not condition:
        raise WorkflowError(message)


# --- times -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RelativeTimeRange:
    """Days before (negative) and after the file that needs the association."""

    start: float
    end: float

    def __post_init__(self):
        check(self.start <= 0.0 <= self.end, f"time range {self} does not hold the moment itself")

    def holds(self, days):
        return self.start <= days <= self.end


def _symmetric(days):
    return RelativeTimeRange(-days, days)


TIME_RANGES = {
    "ONE_AND_HALF_HOURS": _symmetric(0.0625),
    "SAME_NIGHT": _symmetric(0.4),
    "NEXT_DAY": RelativeTimeRange(0, 1),
    "ONE_DAY": _symmetric(1),
    "TWO_DAYS": _symmetric(2),
    "THREE_DAYS": _symmetric(3),
    "FOUR_DAYS": _symmetric(4),
    "FIVE_DAYS": _symmetric(5),
    "ONE_WEEK": _symmetric(7),
    "TWO_WEEKS": _symmetric(14),
    "THREE_WEEKS": _symmetric(21),
    "ONE_MONTH": _symmetric(30),
    "QUARTERLY": _symmetric(90),
    "IN_THE_PAST": RelativeTimeRange(-math.inf, 0),
    "UNLIMITED": RelativeTimeRange(-math.inf, math.inf),
}
UNLIMITED = TIME_RANGES["UNLIMITED"]


# --- files, jobs, parameters -----------------------------------------------------------------------------------


class HeaderOnlyFile:
    """What classification and association functions see: `f["dpr.type"]` is the value, None when absent."""

    def __init__(self, name, keywords, classification=None):
        self.name, self.classification = name, classification
        self.keywords = {key.lower(): value for key, value in keywords.items()}

    def __getitem__(self, keyword):
        check(isinstance(keyword, str), f"{keyword!r} is no keyword")
        return self.keywords.get(keyword.lower())

    def get_keyword_value(self, keyword, default):
        value = self[keyword]
        return default if value is None else value


class ClassifiedFitsFile(HeaderOnlyFile):
    pass


class JobParameters:
    def __init__(self, workflow_parameters):
        self.workflow_parameters = dict(workflow_parameters)
        self.recipe_parameters = {}

    def get_workflow_param(self, name):
        check(name in self.workflow_parameters, f"no parameter {name!r}: neither of the workflow nor dynamic")
        return self.workflow_parameters[name]


def get_parameter(params, name):
    return params.get_workflow_param(name)


class ReportInput(enum.Enum):
    RECIPE_INPUTS = 1
    RECIPE_INPUTS_OUTPUTS = 2
    RECIPE_OUTPUTS = 3


class FilterMode(enum.Enum):
    SELECT = "SELECT"
    REJECT = "REJECT"


# --- classification --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ClassificationRule:
    tag: str
    condition: object

    def matches(self, f):
        if self.condition is None:
            return f["pro.catg"] == self.tag
        if isinstance(self.condition, dict):
            return all(f[keyword] == value for keyword, value in self.condition.items())
        return bool(self.condition(f))

    @property
    def is_product(self):
        return self.condition is None or (isinstance(self.condition, dict) and "pro.catg" in self.condition)

    def __repr__(self):
        return self.tag


def classification_rule(tag, condition=None):
    check(isinstance(tag, str) and tag, "a classification rule needs a tag")
    check(
        condition is None or isinstance(condition, dict) or callable(condition),
        f"{tag}: neither dict nor function",
    )
    return ClassificationRule(tag, condition)


# --- association rules -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MatchRule:
    keywords: tuple | None
    function: object
    time_range: RelativeTimeRange
    level: int

    def fits(self, ref, f):
        """Whether setup, not time, fits."""
        if self.keywords is not None:
            return all(ref[keyword] == f[keyword] for keyword in self.keywords)
        return bool(self.function(ref, f))


def _keywords(keywords):
    check(isinstance(keywords, list) and keywords, f"{keywords!r} is no list of keywords")
    check(all(isinstance(word, str) and word for word in keywords), f"{keywords!r} are no keywords")
    check(len(set(keywords)) == len(keywords), f"{keywords!r} hold one twice")
    return tuple(keywords)


class _Matching:
    """Methods that data sources and match rules share."""

    def __init__(self):
        self.match_rules = []

    def with_match_keywords(self, keywords, time_range=UNLIMITED, level=0):
        return self._with(_keywords(keywords), None, time_range, level)

    def with_match_function(self, function, time_range=UNLIMITED, level=0):
        check(callable(function), f"{function!r} is no function")
        return self._with(None, function, time_range, level)

    def _with(self, keywords, function, time_range, level):
        check(isinstance(time_range, RelativeTimeRange), f"{time_range!r} is no time range")
        check(isinstance(level, int) and level <= 3, f"level {level!r}")
        self.match_rules.append(MatchRule(keywords, function, time_range, level))
        return self


class MatchRules(_Matching):
    pass


def match_rules():
    return MatchRules()


# --- data sources ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class DataSource:
    name: str
    classification_rules: tuple
    match_rules: tuple
    grouping_keywords: tuple
    setup_keywords: tuple
    min_group_size: int
    cluster: tuple | None

    def __repr__(self):
        return f"data source {self.name}"

    @property
    def first_source(self):
        return self


class DataSourceBuilder(_Matching):
    def __init__(self, name):
        super().__init__()
        check(name is None or isinstance(name, str), f"{name!r} is no name")
        self.name = name
        self.classification_rules = []
        self.grouping_keywords = self.setup_keywords = ()
        self.min_group_size, self.cluster = 1, None

    def with_classification_rule(self, rule):
        check(isinstance(rule, ClassificationRule), f"{self.name}: {rule!r} is no classification rule")
        check(rule not in self.classification_rules, f"{self.name}: {rule} twice")
        self.classification_rules.append(rule)
        return self

    def with_grouping_keywords(self, keywords):
        self.grouping_keywords = _keywords(keywords)
        return self

    def with_setup_keywords(self, keywords):
        self.setup_keywords = _keywords(keywords)
        return self

    def with_min_group_size(self, number):
        check(isinstance(number, int) and number > 0, f"{self.name}: group size {number!r}")
        self.min_group_size = number
        return self

    def with_cluster(self, keyword, minimum, maximum):
        check(isinstance(keyword, str) and 0 < minimum <= maximum, f"{self.name}: cluster {minimum}, {maximum}")
        self.cluster = (keyword, minimum, maximum)
        return self

    def build(self):
        check(self.classification_rules, f"{self.name}: a data source without a classification rule")
        check(self.name or len(self.classification_rules) == 1, "several rules need a name")
        return DataSource(
            self.name or self.classification_rules[0].tag,
            tuple(self.classification_rules),
            tuple(self.match_rules),
            self.grouping_keywords,
            self.setup_keywords,
            self.min_group_size,
            self.cluster,
        )


def data_source(name=None):
    return DataSourceBuilder(name)


# --- tasks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AssociatedInput:
    source: object
    rules: tuple
    min_ret: int
    max_ret: int
    condition: object
    match_rules: tuple


class _Associating:
    def _associated(self, source, rules, min_ret, max_ret, condition, match_rules):
        check(isinstance(source, (DataSource, Task)), f"{source!r} is neither data source nor task")
        check(rules is None or isinstance(rules, list), f"{rules!r} is no list")
        check(all(isinstance(rule, ClassificationRule) for rule in rules or ()), f"{rules!r}")
        check(isinstance(source, DataSource) or rules, f"products of {source} are not told")
        check(0 <= min_ret <= max_ret and max_ret >= 1, f"min_ret {min_ret}, max_ret {max_ret}")
        check(condition is None or len(inspect.signature(condition).parameters) == 1, f"{condition}")
        check(match_rules is None or isinstance(match_rules, MatchRules), f"{match_rules!r} are no match rules")
        used = match_rules.match_rules if match_rules else source.first_source.match_rules
        check(used, f"{source} is associated and has no association rules")
        return AssociatedInput(source, tuple(rules or ()), min_ret, max_ret, condition, tuple(used))


class Alternatives(_Associating):
    def __init__(self, sort_keys):
        self.sort_keys, self.inputs = sort_keys, []

    def with_associated_input(self, source, rules=None, min_ret=1, max_ret=1, condition=None, match_rules=None):
        self.inputs.append(self._associated(source, rules, min_ret, max_ret, condition, match_rules))
        return self


def alternative_associated_inputs(sort_keys=None):
    return Alternatives(sort_keys)


@dataclass(eq=False)
class Task:
    name: str
    recipe: str
    main_input: object
    associations: tuple
    condition: object
    dynamic_parameters: dict
    job_functions: tuple
    input_filter: tuple
    filter_mode: FilterMode
    output_filter: tuple
    input_map: dict
    meta_targets: tuple
    reports: tuple
    subworkflow: str

    def __repr__(self):
        return f"task {self.name}"

    @property
    def first_source(self):
        """The data source whose association rules the task inherits."""
        return self.main_input.first_source


META_TARGETS = {
    "QC0": "qc0",
    "QC1_CALIB": "qc1calib",
    "QC1_SCIENCE": "qc1science",
    "SCIENCE": "science",
    "CALCHECKER": "calchecker",
    "IDP": "idp",
    "ALL": "all",
}


@dataclass
class _State:
    """Of the workflow that is being loaded."""

    tasks: list = field(default_factory=list)
    subworkflows: list = field(default_factory=list)


_state = _State()


class TaskBuilder(_Associating):
    def __init__(self, name):
        check(isinstance(name, str) and name.strip() == name and name, f"{name!r} is no name of a task")
        self.name = name
        self.values = {
            "recipe": None, "main_input": None, "associations": [], "condition": None, "dynamic_parameters": {},
            "job_functions": [], "input_filter": (), "filter_mode": FilterMode.SELECT, "output_filter": (),
            "input_map": {}, "meta_targets": (), "reports": [],
        }  # fmt: skip

    def _once(self, key, value):
        check(not self.values[key], f"{self.name}: {key} twice")
        self.values[key] = value
        return self

    def with_recipe(self, name):
        check(isinstance(name, str) and name, f"{self.name}: recipe {name!r}")
        return self._once("recipe", name)

    def with_main_input(self, source):
        check(isinstance(source, (DataSource, Task)), f"{self.name}: {source!r} is neither data source nor task")
        check(
            not isinstance(source, DataSource) or source.setup_keywords,
            f"{source}: a main input needs setup keywords",
        )
        return self._once("main_input", source)

    def with_associated_input(self, source, rules=None, min_ret=1, max_ret=1, condition=None, match_rules=None):
        self.values["associations"].append(
            self._associated(source, rules, min_ret, max_ret, condition, match_rules)
        )
        return self

    def with_alternatives(self, alternatives):
        check(isinstance(alternatives, Alternatives) and alternatives.inputs, f"{self.name}: no alternatives")
        self.values["associations"].append(alternatives)
        return self

    with_alternative_associated_inputs = with_alternatives

    def with_condition(self, function):
        check(len(inspect.signature(function).parameters) == 1, f"{self.name}: {function}")
        return self._once("condition", function)

    def with_dynamic_parameter(self, name, function):
        check(name not in self.values["dynamic_parameters"], f"{self.name}: {name} twice")
        check(len(inspect.signature(function).parameters) == 1, f"{self.name}: {function}")
        self.values["dynamic_parameters"][name] = function
        return self

    def with_job_processing(self, function):
        check(len(inspect.signature(function).parameters) == 1, f"{self.name}: {function}")
        self.values["job_functions"].append(function)
        return self

    def with_input_filter(self, *rules, mode=FilterMode.SELECT):
        check(
            rules and all(isinstance(rule, ClassificationRule) for rule in rules), f"{self.name}: filter {rules}"
        )
        self.values["filter_mode"] = FilterMode(mode)
        return self._once("input_filter", rules)

    def with_output_filter(self, *rules, mode=FilterMode.SELECT):
        check(
            rules and all(isinstance(rule, ClassificationRule) for rule in rules), f"{self.name}: filter {rules}"
        )
        FilterMode(mode)
        return self._once("output_filter", rules)

    def with_input_map(self, mapping):
        check(
            all(isinstance(r, ClassificationRule) for pair in mapping.items() for r in pair), f"{self.name}: map"
        )
        return self._once("input_map", dict(mapping))

    def with_report(self, name, inputs, driver="png"):
        check(
            isinstance(name, str) and isinstance(inputs, ReportInput) and driver, f"{self.name}: report {name!r}"
        )
        self.values["reports"].append((name, inputs))
        return self

    def with_meta_targets(self, targets):
        check(isinstance(targets, list) and all(isinstance(t, str) for t in targets), f"{self.name}: {targets!r}")
        return self._once("meta_targets", tuple(targets))

    def with_description(self, text):
        check(isinstance(text, str), f"{self.name}: description")
        return self

    def build(self):
        check(self.values["recipe"], f"{self.name}: no recipe")
        check(self.values["main_input"] is not None, f"{self.name}: no main input")
        listed = ("associations", "job_functions", "reports")
        values = {key: tuple(value) if key in listed else value for key, value in self.values.items()}
        built = Task(name=self.name, subworkflow="/".join(_state.subworkflows), **values)
        _state.tasks.append(built)
        return built


def task(name):
    return TaskBuilder(name)


def subworkflow(name, description):
    check(isinstance(name, str) and isinstance(description, str), "a subworkflow needs a name and a description")

    def decorate(function):
        def inside(*args, **kwargs):
            _state.subworkflows.append(name)
            try:
                return function(*args, **kwargs)
            finally:
                _state.subworkflows.pop()

        return inside

    return decorate


# --- loading ---------------------------------------------------------------------------------------------------

NAMES = {
    "List": list,
    "alternative_association": alternative_associated_inputs,
    **META_TARGETS,
    **{value: value for value in META_TARGETS.values() if value != "all"},
    **TIME_RANGES,
    **{
        thing.__name__: thing
        for thing in (
            ClassifiedFitsFile, FilterMode, JobParameters, RelativeTimeRange, ReportInput, Task,
            alternative_associated_inputs, classification_rule, data_source, get_parameter, match_rules,
            subworkflow, task,
        )
    },
}  # fmt: skip


@dataclass(frozen=True)
class Workflow:
    """Tasks by name, in the order in which they were built, and the module that holds them."""

    tasks: dict
    module: types.ModuleType
    modules: dict

    @property
    def data_sources(self):
        """All data sources of the workflow, by label."""
        found = vars(self.modules["soxs_datasources"]).values()
        return {source.name: source for source in found if isinstance(source, DataSource)}


@contextmanager
def _edps_modules(folder):
    modules = {"edps": types.ModuleType("edps"), "edps.generator": types.ModuleType("edps.generator")}
    modules["edps.generator.time_range"] = types.ModuleType("edps.generator.time_range")
    vars(modules["edps"]).update(NAMES)
    vars(modules["edps.generator.time_range"]).update({"RelativeTimeRange": RelativeTimeRange, **TIME_RANGES})
    sys.modules.update(modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in modules:
            del sys.modules[name]


def load_workflow(folder, package):
    """Import `<package>.<package>_wkf` as EDPS would and return what was recorded."""
    global _state
    folder = Path(folder)
    check((folder / package / f"{package}_wkf.py").is_file(), f"no {package}_wkf.py in {folder}")
    _state = _State()
    modules = {}
    with _edps_modules(folder):
        try:
            module = importlib.import_module(f"{package}.{package}_wkf")
        finally:
            for name in [name for name in sys.modules if name == package or name.startswith(package + ".")]:
                modules[name.rpartition(".")[2]] = sys.modules.pop(name)
    names = [built.name for built in _state.tasks]
    check(len(set(names)) == len(names), f"two tasks of one name: {sorted(names)}")
    # EDPS looks for tasks among the names of the workflow's module.
    known = [value for value in vars(module).values() if isinstance(value, Task)]
    lost = [built.name for built in _state.tasks if built not in known]
    check(not lost, f"tasks without a name in the module: {lost}")
    return Workflow({built.name: built for built in _state.tasks}, module, modules)
