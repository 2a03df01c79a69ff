"""Organisation of files by a recorded workflow, as EDPS's manuals describe it: jobs with their inputs, none run.

Taken from the manuals: files of different classification never share a group; a grouping keyword that is absent
makes no difference; association rules are tried by level, at each level raw calibrations (jobs) before masters
(files); among those that fit the nearest in time wins; alternatives are tried in order and the first that is
satisfied wins; an associated input whose condition is false is not looked for; a job without a required input is
incomplete.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from edps_standin import (
    Alternatives,
    ClassifiedFitsFile,
    DataSource,
    JobParameters,
    check,
)


@dataclass(eq=False)
class OrganisedJob:
    """A recipe call.

    Attributes
    ----------
    task : Task
    files : list of ClassifiedFitsFile
        Main input; of a job on products the files behind them.
    associated : list of (AssociatedInput, MatchRule, jobs, files)
    """

    task: object
    files: list
    parameters: JobParameters
    upstream: OrganisedJob | None = None
    associated: list = field(default_factory=list)
    complete: bool = True

    @property
    def reference(self):
        return self.files[0]

    @property
    def mjd(self):
        return float(self.reference["mjd-obs"])

    @property
    def is_raw(self):
        return self.upstream is None

    @property
    def jobs_needed(self):
        found = [self.upstream] if self.upstream else []
        return found + [job for entry in self.associated for job in entry[2]]


def classify(f, rules):
    """The one rule that a file meets, None when it meets none."""
    met = [rule for rule in rules if rule.matches(f)]
    check(len({rule.tag for rule in met}) <= 1, f"{f.name} meets several rules: {met}")
    return met[0] if met else None


class Organiser:
    """Jobs of some tasks on some files."""

    def __init__(self, workflow, files, workflow_parameters):
        self.workflow, self.workflow_parameters = workflow, workflow_parameters
        rules = all_rules(workflow)
        self.files = []
        for f in files:
            rule = classify(f, rules)
            if rule is not None:
                self.files.append(ClassifiedFitsFile(f.name, f.keywords, rule.tag))
        self._jobs = {}

    def organise(self, targets):
        """Complete jobs of the targets and of all that they need."""
        found, waiting = [], [job for name in targets for job in self.jobs_of(self.workflow.tasks[name])]
        while waiting:
            job = waiting.pop()
            if job.complete and job not in found:
                found.append(job)
                waiting += job.jobs_needed
        return found

    def jobs_of(self, task):
        if task.name not in self._jobs:
            self._jobs[task.name] = None  # a task that needs itself would come back here
            self._jobs[task.name] = [job for job in map(self._with_associations, self._groups(task)) if job]
        check(self._jobs[task.name] is not None, f"{task} needs its own products")
        return [job for job in self._jobs[task.name] if job.complete]

    def _groups(self, task):
        source = task.main_input
        if isinstance(source, DataSource):
            for group in grouped(source, self.files):
                yield OrganisedJob(task, group, JobParameters(self.workflow_parameters))
        else:
            for job in self.jobs_of(source):
                yield OrganisedJob(task, job.files, JobParameters(self.workflow_parameters), upstream=job)

    def _with_associations(self, job):
        for name, function in job.task.dynamic_parameters.items():
            job.parameters.workflow_parameters[name] = function(job.files)
        if job.task.condition and not job.task.condition(job.parameters):
            return None
        for entry in job.task.associations:
            inputs = entry.inputs if isinstance(entry, Alternatives) else [entry]
            wanted = [one for one in inputs if one.condition is None or one.condition(job.parameters)]
            for one in wanted:
                found = self._found(job, one)
                if found[1] or found[2]:
                    job.associated.append((one, *found))
                if found[1] or found[2] or one.min_ret == 0:
                    break
            else:
                job.complete = job.complete and not wanted
        return job

    def _found(self, job, entry):
        for rule in sorted(entry.match_rules, key=lambda rule: rule.level):
            jobs, files = self._raw_and_masters(job, entry, rule)
            for kind, found in (("jobs", jobs), ("files", files)):
                found.sort(key=lambda one: abs(mjd_of(one) - job.mjd))
                if len(found) >= max(1, entry.min_ret):
                    limit = entry.max_ret if kind == "jobs" else entry.max_ret * max(1, len(entry.rules))
                    return (rule, found[:limit], []) if kind == "jobs" else (rule, [], found[:limit])
        return None, [], []

    def _raw_and_masters(self, job, entry, rule):
        """Jobs and files that a rule finds."""

        def fits(candidate):
            f = candidate.reference if isinstance(candidate, OrganisedJob) else candidate
            return rule.time_range.holds(mjd_of(candidate) - job.mjd) and rule.fits(job.reference, f)

        if isinstance(entry.source, DataSource):
            tags = {one.tag for one in entry.source.classification_rules}
            return [], [f for f in self.files if f.classification in tags and fits(f) and f not in job.files]
        jobs = [one for one in self.jobs_of(entry.source) if fits(one)]
        masters = [[f for f in self.files if f.classification == asked.tag and fits(f)] for asked in entry.rules]
        # As many of each category as are asked for, or none at all.
        enough = all(len(of_one) >= entry.min_ret for of_one in masters)
        nearest = [sorted(of_one, key=lambda f: abs(mjd_of(f) - job.mjd))[: entry.max_ret] for of_one in masters]
        return jobs, [f for of_one in nearest for f in of_one] if enough else []


def mjd_of(one):
    return one.mjd if isinstance(one, OrganisedJob) else float(one["mjd-obs"])


def all_rules(workflow):
    """Classification rules of the workflow: those of its data sources and those of products."""
    rules = {rule.tag: rule for source in workflow.data_sources.values() for rule in source.classification_rules}
    for task in workflow.tasks.values():
        for entry in task.associations:
            for one in entry.inputs if isinstance(entry, Alternatives) else [entry]:
                rules |= {rule.tag: rule for rule in one.rules}
    return list(rules.values())


def grouped(source, files):
    """Groups of a data source that are large enough, in order of time."""
    groups = defaultdict(list)
    tags = [rule.tag for rule in source.classification_rules]
    for f in sorted(files, key=lambda f: (float(f["mjd-obs"] or 0.0), f.name)):
        if f.classification in tags:
            groups[(f.classification, *(f[keyword] for keyword in source.grouping_keywords))].append(f)
    clusters = [part for group in groups.values() for part in clustered(source.cluster, group)]
    return [group for group in clusters if len(group) >= source.min_group_size]


def clustered(cluster, group):
    if cluster is None:
        return [group]
    keyword, gap, length = cluster
    parts, last, first = [[]], -math.inf, -math.inf
    for f in sorted(group, key=lambda f: float(f[keyword])):
        value = float(f[keyword])
        if parts[-1] and (value - last > gap or value - first > length):
            parts.append([])
        if not parts[-1]:
            first = value
        parts[-1].append(f)
        last = value
    return parts
