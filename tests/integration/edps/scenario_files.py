"""Scenarios in the form of EDPS's own JSON tests: templates of header-only files in, jobs out.

As there: `name_prefix`, `count`, `keywords`, `common_keywords`, `common_inputs`, `targets`, `meta_targets`,
`results` with `recipe`, `inputs_prefixes`, `assoc_prefixes`; `mjd-obs` as given, one `tpl.start` for each
template where none is given, `arcfile`, `tpl.nexp` and `tpl.expno` of themselves. Beyond that, `differs` gives
the number of a difference in the workflow's docstring where the planner of the cascade organises the same files
otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edps_standin import HeaderOnlyFile

FOLDER = Path(__file__).parent / "scenarios"
SHAPES = {"VIS": (908, 4096), "NIR": (2048, 2048)}


@dataclass(frozen=True)
class Scenario:
    description: str
    targets: list
    meta_targets: list
    parameters: dict
    files: list
    results: list
    differs: int

    def targets_of(self, workflow):
        """Names of tasks, meta targets resolved."""
        asked = set(self.meta_targets)
        return [*self.targets, *(name for name, task in workflow.tasks.items() if asked & set(task.meta_targets))]


def scenarios():
    """All scenarios of the folder."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        common = {entry["name_prefix"]: entry for entry in document.get("inputs", [])}
        for entry in document["scenarios"]:
            assert entry["workflow"] == "soxs.soxs_wkf", entry["description"]
            templates = [common[name] for name in entry.get("common_inputs", [])] + entry.get("input_files", [])
            found.append(
                Scenario(
                    entry["description"],
                    entry["targets"],
                    entry["meta_targets"],
                    entry.get("workflow_parameters", {}),
                    [f for template in templates for f in files_of(template, document.get("keywords", {}))],
                    entry["results"],
                    entry.get("differs", 0),
                )
            )
    return found


def files_of(template, common):
    """Header-only files of one template."""
    prefix, count = template["name_prefix"], template.get("count", 1)
    keywords = {}
    for name in template.get("common_keywords", []):
        keywords |= common[name]
    keywords |= template["keywords"]
    files = []
    for number in range(1, count + 1):
        name = f"{prefix}_{number}.fits"
        standard = {"arcfile": name, "tpl.start": prefix, "tpl.nexp": count, "tpl.expno": number}
        files.append(HeaderOnlyFile(name, standard | keywords))
    return files


def fits_header(f):
    """The header of a file, spelt as in FITS, with the axes that its arm and binning have."""
    header = {}
    for keyword, value in f.keywords.items():
        header["ESO " + keyword.upper().replace(".", " ") if "." in keyword else keyword.upper()] = value
    nx, ny = SHAPES[str(f["seq.arm"])]
    header |= {"NAXIS1": nx // int(f["det.binx"] or 1), "NAXIS2": ny // int(f["det.biny"] or 1)}
    return header
