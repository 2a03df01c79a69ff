"""A data organiser: classifies files by OCA rules, groups them, and gives each group the nearest that match."""

from dataclasses import dataclass, field

from oca_language import holds


def keywords_of(header):
    """A header as the rules know it: `ESO DPR TYPE` is DPR.TYPE."""
    return {name.removeprefix("ESO ").replace(" ", "."): value for name, value in dict(header).items()}


@dataclass
class File:
    name: str
    keywords: dict
    made_by: "Call | None" = None

    @property
    def time(self):
        return self.keywords.get("MJD-OBS")


@dataclass
class Call:
    action: str
    main: list
    selected: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)

    @property
    def files(self):
        """Names of its main frames and of those raw frames that join them."""
        return {file.name for file in self.main}


def classified(rules, name, header):
    """(file, the rules that fit it); each gives keywords."""
    file = File(name, keywords_of(header))
    fitting = [rule for rule in rules.rules if holds(rule.condition, file.keywords)]
    for rule in fitting:
        file.keywords |= rule.values
    return file, fitting


def organise(rules, headers):
    """All calls, in the order of the rules; what they make serves those after them."""
    inputs = [classified(rules, name, header)[0] for name, header in headers]
    calibrations = [file for file in inputs if "PRO.CATG" in file.keywords]
    calls = []
    for execute in rules.executes:
        files = inputs if execute.source == "inputFiles" else calibrations
        for group in _groups(execute, files):
            call = _call(rules.actions[execute.action], group, inputs, calibrations)
            calls.append(call)
            if not call.missing:
                calibrations += _products(rules.actions[execute.action], call)
    return calls


def _groups(execute, files):
    groups = {}
    for file in files:
        if holds(execute.condition, file.keywords):
            groups.setdefault(tuple(file.keywords.get(key) for key in execute.group), []).append(file)
    return list(groups.values())


def _call(action, group, inputs, calibrations):
    call = Call(action.name, group)
    trigger = group[0].keywords
    for select in action.selects:
        files = inputs if select.source == "inputFiles" else calibrations
        fitting = [file for file in files if holds(select.condition, file.keywords, trigger)]
        fitting.sort(key=lambda file: (abs((file.time or 0.0) - trigger["MJD-OBS"]), file.name))
        chosen = fitting[: select.maximum]
        if len(chosen) < select.minimum:
            call.missing.append(select.label)
        call.selected.setdefault(select.label, []).extend(chosen)
    return call


def _products(action, call):
    first = {key: value for key, value in call.main[0].keywords.items() if not key.startswith("RAW.")}
    return [File(label, {**first, **values}, call) for label, values in action.products.items()]
