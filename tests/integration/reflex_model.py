"""What Reflex's actors do with sets of files, as far as it is known, to try the workflow without Reflex.

A purpose is the chain of actions for which a file is needed, the nearest first: `ACTION_BIAS_VIS/ACTION_FLAT_VIS`.
"""

from collections import defaultdict
from dataclasses import dataclass, replace

from soxs_recipes.integration.actors import ACTORS
from soxs_recipes.integration.moml import COMPOSITE
from soxs_recipes.integration.purposes import own_purposes

UNIVERSAL = "UNIVERSAL"


@dataclass(frozen=True)
class Item:
    """A file: raw frames by name, products by category and how they were made."""

    name: str
    category: str
    purposes: frozenset


@dataclass(frozen=True)
class Run:
    """A call of a recipe: for which purposes, on which files."""

    recipe: str
    purposes: frozenset
    files: frozenset  # of (category, name)


def dataset(target):
    """All files that a call of the organiser needs, directly or by what makes its calibrations."""
    purposes = defaultdict(set)

    def need(call, outer):
        purpose = "/".join(filter(None, (call.action, outer)))
        for file in [*call.main, *(file for files in call.selected.values() for file in files)]:
            if file.made_by is not None:
                need(file.made_by, purpose)
            else:
                purposes[file.name, file.keywords.get("DO.CATG", file.name)].add(purpose)

    need(target, "")
    return [Item(*key, frozenset(found)) for key, found in purposes.items()]


class Model:
    """Runs a workflow on the files of a data set; what each recipe makes comes from `products`."""

    def __init__(self, workflow, products):
        self.workflow, self.products, self.runs = workflow, products, []

    def run(self, files):
        return self._composite(self.workflow, {}, files)

    # -- wires
    def _composite(self, composite, given, dataset_files=None):
        """Fire the actors of a composite as soon as all that comes to them is there; what it puts out."""
        tokens = dict(given)
        comes = defaultdict(list)
        for relation in composite.relations:
            source = next(link for link in relation.links if self._is_source(composite, link))
            for link in relation.links:
                if link is not source:
                    comes[link.entity, link.port].append((source.entity, source.port))
        # What only remembers fires when there is something to remember.
        waiting = {e.name: e for e in composite.entities if not e.name.startswith(("Remember", "Next", "Count"))}
        while waiting:
            ready = [entity for entity in waiting.values() if _can_fire(entity, comes, tokens)]
            assert ready, f"{composite.name}: nothing can fire any more: {sorted(waiting)}"
            for entity in ready:
                inputs = {
                    port: [tokens[source] for source in sources if source in tokens]
                    for (name, port), sources in comes.items()
                    if name == entity.name
                }
                outputs = self._fire(entity, inputs, dataset_files)
                tokens |= {(entity.name, port): token for port, token in outputs.items()}
                del waiting[entity.name]
        return {port: tokens[sources[0]] for (name, port), sources in comes.items() if name == ""}

    def _is_source(self, composite, link):
        if not link.entity:
            return next(port for port in composite.ports if port.name == link.port).is_input
        entity = next(entity for entity in composite.entities if entity.name == link.entity)
        ports = {port.name: port for port in entity.ports}
        if entity.class_name in ACTORS:
            ports |= ACTORS[entity.class_name].ports
        return not ports[link.port].is_input

    # -- actors
    def _fire(self, entity, inputs, dataset_files):
        if entity.class_name == COMPOSITE:
            given = {("", port): token for port, (token, *_) in inputs.items()}
            many = {port for port in inputs if next(p for p in entity.ports if p.name == port).is_multiport}
            given |= {("", port): inputs[port] for port in many}
            return self._composite(entity, given)
        values = {entry.name: entry.value for entry in entity.properties}
        kind = entity.class_name.rpartition(".")[2]
        if kind == "CurrentDataSet":
            return {"sof out": dataset_files}
        if kind == "PythonActor":
            return self._python(values, inputs)
        one = {port: tokens[0] for port, tokens in inputs.items() if tokens}
        fire = getattr(self, f"_{kind}", None)
        if kind == "StringConst":
            return {"output": values["value"]}
        if fire is None:
            # Actors that pass on texts: what they say does not matter here.
            return dict.fromkeys(("datasets out", "dataset out", "#selected", "sop out"), "")
        return fire(entity, values, inputs, one)

    def _FitsRouter(self, entity, values, inputs, one):
        routes = {name.removesuffix("_config"): set(value.split(",")) for name, value in values.items()
                  if name.endswith("_config")}  # fmt: skip
        return {port: [f for f in one["sof in"] if f.category in tags] for port, tags in routes.items()}

    def _SofCombiner(self, entity, values, inputs, one):
        main = [files for token in inputs["sof in"] for files in _channels(token)]
        extra = [files for token in inputs.get("sof in opt", []) for files in _channels(token)]
        if values.get("IgnorePurpose") == "true":
            return {"sof out": _merged(main + extra)}
        shared = frozenset.intersection(*(_purposes(files) for files in main))
        kept = [replace(f, purposes=f.purposes & shared) for files in main for f in files if f.purposes & shared]
        for f in (f for files in extra for f in files):
            common = f.purposes if UNIVERSAL in f.purposes or UNIVERSAL in shared else f.purposes & shared
            kept += [replace(f, purposes=common)] if common else []
        return {"sof out": _merged([kept])}

    def _SofSplitter(self, entity, values, inputs, one):
        """A set for each purpose; purposes that ask for the same files share one."""
        files = one["sof in"]
        groups = defaultdict(set)
        for purpose in _purposes(files) - {UNIVERSAL} or _purposes(files):
            inside = frozenset(f for f in files if purpose in f.purposes or UNIVERSAL in f.purposes)
            groups[inside].add(purpose)
        return {
            "sof out": [(frozenset(found), inside) for inside, found in groups.items()],
            "#groups": len(groups),
        }

    def _RecipeLooper(self, entity, values, inputs, one):
        return {"sof out": one["sof in"], "sop out": one["sop in"]}

    def _RecipeExecuter(self, entity, values, inputs, one):
        recipe = entity.name.rpartition("_")[0]
        if values["mode"] != "Run":
            return {"sof out": [], "sop out": ""}
        made = []
        for purposes, files in one["sof in"]:
            inside = frozenset((f.category, f.name) for f in files)
            self.runs.append(Run(recipe, purposes, inside))
            strips = values["File Purpose Processing"] == "Strip last"
            left = frozenset(p.partition("/")[2] if strips and p != UNIVERSAL else p for p in purposes)
            name = f"{recipe}({','.join(sorted(name for _, name in inside))})"
            made += [Item(f"{tag} of {name}", tag, left) for tag in self.products(recipe, files)]
        return {"sof out": made, "sop out": one["sop in"]}

    def _SofAccumulator(self, entity, values, inputs, one):
        return {"sof out": _merged([one["sof in"]])}

    def _python(self, values, inputs):
        files = inputs["in_sof"][0]
        if values["Python script"].endswith("/soxs_own_purposes.py"):
            files = [
                replace(f, purposes=kept) for f in files if (kept := own_purposes(f.purposes, inputs["action"][0]))
            ]
        return {"out_sof": files, "iteration_complete": "true", "out_sop": ""}


def _can_fire(entity, comes, tokens):
    """Whether all is there; a looper does not wait for what comes back."""
    ports = {port: sources for (name, port), sources in comes.items() if name == entity.name}
    if entity.class_name.endswith(".RecipeLooper"):
        ports = {port: ports[port] for port in ("sof in", "sop in")}
    return all(source in tokens for sources in ports.values() for source in sources)


def _channels(token):
    """Sets of files that stand behind one wire: several for a bus."""
    return token if token and isinstance(token[0], list) else [token]


def _purposes(files):
    return frozenset().union(*(f.purposes for f in files))


def _merged(sets):
    """One set, each file once with all its purposes."""
    found = {}
    for f in (f for files in sets for f in files):
        earlier = found.get((f.name, f.category))
        found[f.name, f.category] = f if earlier is None else replace(f, purposes=f.purposes | earlier.purposes)
    return list(found.values())
