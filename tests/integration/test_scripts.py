"""The scripts of the workflow, called as Reflex's PythonActor calls them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxs_recipes.errors import InputError
from soxs_recipes.integration.boxes import INITIAL_PARAMETERS
from soxs_recipes.integration.reflex import reflex_workflow

SCRIPTS = Path(__file__).parents[2] / "workflows" / "scripts"
NEXT = SCRIPTS / "soxs_next_parameters.py"
RENAME, OWN = SCRIPTS / "soxs_rename_products.py", SCRIPTS / "soxs_own_purposes.py"


def run_script(script, folder, **ports):
    """(exit code, stderr, what is at the output ports)."""
    (folder / "in.json").write_text(json.dumps(ports))
    answer = folder / "out.json"
    arguments = ["--input-parameters-file", folder / "in.json", "--output-parameters-file", answer]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, json.loads(answer.read_text()) if answer.exists() else {}


def token(*files, purposes=("UNIVERSAL",)):
    listed = [{"name": str(file), "category": "SCI", "purposes": list(purposes)} for file in files]
    return {"datasetName": "night", "files": listed}


def test_products_are_answered_with_their_new_places(tmp_path):
    file = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((2, 2), np.float32), fits.Header({"OBJECT": "SN2026abc"})).writeto(file)
    settings = f"folder={tmp_path / 'end'}\nsubfolder=run\nmode=copy"
    code, errors, answer = run_script(RENAME, tmp_path, in_sof=token(file, "/gone.fits"), settings=settings)
    assert (code, errors) == (0, "")
    (kept,) = answer["out_sof"]["files"]
    assert kept["name"] == str(tmp_path / "end" / "run" / "SN2026abc" / "a.fits")
    assert (kept["category"], kept["purposes"]) == ("SCI", ["UNIVERSAL"])
    assert Path(kept["name"]).is_file()


@pytest.mark.parametrize("settings", ["", "folder=\nsubfolder=\nmode=copy", "folder=end\nmode=copy"])
def test_settings_that_lack_something_are_refused(tmp_path, settings):
    code, errors, answer = run_script(RENAME, tmp_path, in_sof=token(), settings=settings)
    assert (code, answer) == (InputError.exit_code, {})
    assert errors.startswith("soxs_rename_products: settings: must tell folder")


def test_files_are_kept_for_the_tasks_own_purposes(tmp_path):
    own, other = "ACTION_BIAS_VIS/ACTION_FLAT_VIS/ACTION_SCIENCE_VIS", "ACTION_LINGAIN_VIS/ACTION_SCIENCE_VIS"
    files = token("/a.fits", "/b.fits", purposes=(other, own))
    files["files"].append({"name": "/c.fits", "category": "SCI", "purposes": [other]})
    code, errors, answer = run_script(OWN, tmp_path, in_sof=files, action="ACTION_BIAS_")
    assert (code, errors) == (0, "")
    assert [(file["name"], file["purposes"]) for file in answer["out_sof"]["files"]] == [
        ("/a.fits", [own]),
        ("/b.fits", [own]),
    ]


def test_parameters_of_a_review_become_those_of_the_next_data_sets(tmp_path):
    tokens = [
        {"recipe": "soxs_stare", "display_name": name, "name": None, "description": None, "value": value}
        for name, value in (("maximum-sources", "2"), ("refine-sky", False), ("synchronised-with", ""))
    ]
    code, errors, answer = run_script(NEXT, tmp_path, in_sop=tokens)
    assert (code, errors) == (0, "")
    assert answer == {"text": "soxs_stare:maximum-sources=2\nsoxs_stare:refine-sky=false"}
    box = next(box for box in reflex_workflow().entities if box.name == "Science")
    first = next(entry.value for entry in box.properties if entry.name == INITIAL_PARAMETERS)
    assert {line.partition("=")[0] for line in answer["text"].splitlines()} <= {
        line.partition("=")[0] for line in first.splitlines()
    }


@pytest.mark.parametrize(
    ("script", "name"), [(RENAME, "Product Renamer"), (OWN, "Own Purposes"), (NEXT, "Next Parameters")]
)
def test_scripts_have_the_ports_of_the_workflow(script, name):
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True)
    inputs, _, outputs = done.stdout.partition("\noutputs:\n")
    told = {port: text for text in (inputs, outputs) for port in re.findall(r"-\w \w+, --(\w+)=", text)}
    actors = [entity for box in reflex_workflow().entities for entity in box.entities if entity.name == name]
    assert actors
    for entity in actors:
        assert {port.name: inputs if port.is_input else outputs for port in entity.ports} == told
