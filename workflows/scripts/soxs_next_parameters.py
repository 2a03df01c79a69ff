"""Reflex's PythonActor that makes parameters chosen in a review those of the next data sets: see docs/reflex.md.

`in_sop` are parameters; `text` are the same as lines `recipe:name=value`. An empty value cannot be handed on so.
"""

import sys

from soxs_recipes.review.ports import act
from soxs_recipes.review.tokens import parameter_list


def lines(values: dict[str, object]) -> dict[str, object]:
    """What is put to the output ports."""
    parameters = parameter_list(values["in_sop"], "in_sop")
    return {"text": "\n".join(f"{p.recipe}:{p.name}={p.value}" for p in parameters if p.value)}


if __name__ == "__main__":
    inputs, outputs = {"in_sop": "p"}, {"text": "t"}
    sys.exit(act("soxs_next_parameters", __doc__, (inputs, outputs), tuple(inputs), lines))
