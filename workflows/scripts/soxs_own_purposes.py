"""Reflex's PythonActor that keeps files only for what one task makes of them: see docs/reflex.md.

`in_sof` are files, `action` is what the names of the task's actions begin with; `out_sof` are those files that a
chain of actions through it needs, for these chains only.
"""

import sys
from dataclasses import replace

from soxs_recipes.integration.purposes import own_purposes
from soxs_recipes.review.ports import act
from soxs_recipes.review.tokens import file_set, sof_token


def keep(values: dict[str, object]) -> dict[str, object]:
    """What is put to the output ports."""
    files = file_set(values["in_sof"], "in_sof")
    own = [
        replace(file, purposes=tuple(own_purposes(file.purposes, str(values["action"])))) for file in files.files
    ]
    return {"out_sof": sof_token(replace(files, files=tuple(file for file in own if file.purposes)))}


if __name__ == "__main__":
    inputs, outputs = {"in_sof": "i", "action": "a"}, {"out_sof": "o"}
    sys.exit(act("soxs_own_purposes", __doc__, (inputs, outputs), tuple(inputs), keep))
