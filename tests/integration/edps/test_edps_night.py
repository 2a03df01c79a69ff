"""On a whole night EDPS would hand every recipe the very frames that `soxs reduce` handed it."""

import pytest
from cascade_terms import ARMS, LOCAL, accepted_tags, local_name, main_tags
from edps_organiser import Organiser
from edps_standin import HeaderOnlyFile
from reduced_night import catg

from soxs_recipes.fits_files import read_header

pytestmark = pytest.mark.night


@pytest.fixture(scope="module")
def reduced(night):
    """What `soxs reduce` did: (task, main frames) -> (frames with tags, products with tags)."""
    calls = {}
    for path in sorted((night.workspace / "sof").rglob("*.sof")):
        frames = {tuple(line.split()) for line in path.read_text(encoding="utf-8").splitlines()}
        made = (night.workspace / "products" / path.relative_to(night.workspace / "sof")).with_suffix("")
        task = path.parent.name
        main = {(name, tag) for name, tag in frames for arm in ARMS if tag in main_tags(LOCAL[task], arm)}
        calls[task, frozenset(main)] = (frames, {(str(made / p.name), catg(p)) for p in made.glob("*.fits")})
    assert len(calls) >= 20
    return calls


@pytest.fixture(scope="module")
def jobs(night, workflow):
    """What EDPS would do with the raw frames of the night."""
    files = []
    for path in sorted(night.folder.glob("*.fits")):
        header = read_header(path)
        keywords = {
            key.removeprefix("HIERARCH ").removeprefix("ESO ").replace(" ", "."): header[key] for key in header
        }
        files.append(HeaderOnlyFile(str(path), keywords))
    targets = [name for name, task in workflow.tasks.items() if task.meta_targets]
    return Organiser(workflow, files, {"flux_calibration": "TRUE"}).organise(targets)


class Hands:
    """What EDPS gives each recipe; products are those that `soxs reduce` made of the same frames."""

    def __init__(self, calls):
        self.calls = calls

    def key(self, job):
        """(task, main frames) of a job."""
        task = LOCAL[local_name(job.task.name)]
        own = {tag for arm in ARMS for tag in main_tags(task, arm)}
        return task.name, frozenset((name, tag) for name, tag in self.frames(job) if tag in own)

    def products(self, job):
        """What a job hands on."""
        kept = {rule.tag for rule in job.task.output_filter}
        _, made = self.calls[self.key(job)]
        return {(name, tag) for name, tag in made if not kept or tag in kept}

    def frames(self, job):
        """The set of frames of a job."""
        given = {(f.name, f.classification) for f in job.files} if job.is_raw else self.products(job.upstream)
        for _, _, found, files in job.associated:
            given |= {entry for one in found for entry in self.products(one)}
            given |= {(f.name, f.classification) for f in files}
        kept = {rule.tag for rule in job.task.input_filter}
        return {(name, tag) for name, tag in given if not kept or tag in kept}


def test_every_call_of_the_night_is_a_job(reduced, jobs):
    hands = Hands(reduced)
    assert {hands.key(job) for job in jobs} == set(reduced)
    assert len(jobs) == len(reduced)


def test_recipes_get_the_same_frames(reduced, jobs):
    hands = Hands(reduced)
    for job in jobs:
        # What a recipe has no use for it leaves out; what is of the other arm it would refuse.
        seen = set().union(*(accepted_tags(job.task.recipe, arm) for arm in ARMS))
        given = {(name, tag) for name, tag in hands.frames(job) if tag in seen}
        frames, _ = reduced[hands.key(job)]
        assert given == frames, job.task
