"""The scripts that Reflex's PythonActors run: ports, tokens, decisions, and Reflex's own window."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

import soxs_recipes
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.registry import RECIPES, recipe_class
from soxs_recipes.review.actor import INPUTS, OUTPUTS, Decision, decision_of, main
from soxs_recipes.review.tokens import file_set, parameter_list, sof_token, sop_token

HERE = Path(__file__).parent
ROOT = Path(soxs_recipes.__file__).parent.parent
SCRIPTS = sorted((ROOT / "workflows" / "review").glob("soxs_*.py"))

SOF = {
    "class": "org.eso.domain.SetOfFiles",
    "datasetName": "SOXS.2026-03-01",
    "files": [
        {
            "class": "org.eso.domain.FitsFile",
            "name": "/data/MASTER_FLAT_VIS.fits",
            "category": "MASTER_FLAT_VIS",
            "purposes": ["FLAT", "UNIVERSAL"],
            "checksum": "17721.0",
        }
    ],
}
RAW = {**SOF, "files": [{**SOF["files"][0], "name": "/data/raw.fits", "category": "FLAT_SLIT_VIS"}]}
SOP = [
    {
        "class": "org.eso.domain.RecipeParameter",
        "display_name": name,
        "name": f"soxs.{recipe}.{name}",
        "description": "text",
        "recipe": recipe,
        "value": value,
    }
    for recipe, name, value in (
        ("soxs_mflat", "edge-degree", "5"),
        ("soxs_mflat", "denoise", "true"),
        ("soxs_stare", "maximum-sources", "2"),
    )
]


def write_ports(folder, **changes):
    ports = {"in_sof": SOF, "in_sof_rec_orig": RAW, "in_sop": SOP, "enable": "true", **changes}
    path = folder / "in.json"
    path.write_text(json.dumps({name: value for name, value in ports.items() if value is not None}))
    return ["--input-parameters-file", str(path), "--output-parameters-file", str(folder / "out.json")]


def outputs_of(folder):
    return json.loads((folder / "out.json").read_text())


def test_a_script_for_every_interactive_step():
    steps = {"disp_solution", "spatial_solution", "mflat", "stare", "nod", "offset", "response"}
    assert {path.stem for path in SCRIPTS} == {f"soxs_{step}" for step in steps}
    assert {path.stem for path in SCRIPTS} <= set(RECIPES)
    for path in SCRIPTS:
        assert f'main("{path.stem}")' in path.read_text()


def environment(**more):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*more.pop("path", []), str(ROOT)]), **more}


def test_the_help_tells_all_ports():
    done = subprocess.run(
        [sys.executable, SCRIPTS[0], "--help"], capture_output=True, text=True, env=environment(), check=True
    )
    options, _, outputs = done.stdout.partition("\noutputs:\n")
    assert set(re.findall(r"-\w \w+, --(\w+)=", outputs)) == set(OUTPUTS)
    assert set(re.findall(r"-\w \w+, --(\w+)=", options)) == set(INPUTS)
    assert "--input-parameters-file=" in options
    assert "--output-parameters-file=" in options


def test_without_the_window_all_goes_through(tmp_path):
    done = subprocess.run(
        [sys.executable, next(path for path in SCRIPTS if path.stem == "soxs_mflat"),
         *write_ports(tmp_path, enable="false")],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert outputs_of(tmp_path) == {"iteration_complete": "true", "out_sof": SOF, "out_sop": SOP}


def ask(decision):
    def answered(declaration, inputs):
        assert declaration.name == "soxs_mflat"
        assert inputs.is_enabled
        return decision

    return answered


def test_going_on(tmp_path):
    assert main("soxs_mflat", write_ports(tmp_path), ask(Decision(closes_window=True))) == 0
    expected = {"iteration_complete": "true", "out_sof": SOF, "out_sop": SOP, "set_enable": "false"}
    assert outputs_of(tmp_path) == expected


def test_a_step_that_had_nothing_to_do_asks_nothing(tmp_path):
    empty = {**SOF, "files": []}

    def never(declaration, inputs):
        raise AssertionError("the window opened on nothing")

    assert main("soxs_mflat", write_ports(tmp_path, in_sof=empty), never) == 0
    assert outputs_of(tmp_path) == {"iteration_complete": "true", "out_sof": empty, "out_sop": SOP}


def test_repeating_with_other_parameters(tmp_path):
    decision = Decision(repeat={"edge-degree": "7", "edge-sigma": "4.0", "stack-sigma": "6.0"}, is_for_all=True)
    assert main("soxs_mflat", write_ports(tmp_path), ask(decision)) == 0
    outputs = outputs_of(tmp_path)
    assert outputs["iteration_complete"] == "false"
    assert outputs["out_sof_loop"] == RAW
    loop = outputs["out_sop_loop"]
    assert [(p["recipe"], p["display_name"], p["value"]) for p in loop] == [
        ("soxs_mflat", "edge-degree", "7"),
        ("soxs_mflat", "denoise", "true"),
        ("soxs_stare", "maximum-sources", "2"),
        ("soxs_mflat", "edge-sigma", "4.0"),
    ]
    assert loop[0]["name"] == "soxs.soxs_mflat.edge-degree"
    assert outputs["set_init_sop"] == loop
    assert set(outputs) <= set(OUTPUTS)


def test_ports_as_text_on_the_command_line_win(tmp_path, capsys):
    sof = "d|/data/a b.fits;MASTER_FLAT_VIS;P1:P2,/data/b.fits;ORDER_TAB_EDGES_VIS;"
    text = "soxs_offset:sky-frames=1,2,3,soxs_offset:use-arcs=true"
    arguments = ["--in_sof", sof, "--in_sop", text, "--enable", "false", *write_ports(tmp_path)]
    assert main("soxs_offset", arguments) == 0
    outputs = outputs_of(tmp_path)
    assert [(f["name"], f["purposes"]) for f in outputs["out_sof"]["files"]] == [
        ("/data/a b.fits", ["P1", "P2"]),
        ("/data/b.fits", []),
    ]
    assert [(p["display_name"], p["value"]) for p in outputs["out_sop"]] == [
        ("sky-frames", "1,2,3"),
        ("use-arcs", "true"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_sop": None}, "nothing at the port in_sop"),
        ({"in_sof": [1]}, "in_sof: is no set of files"),
        ({"in_sof": "no bar"}, "dataset|file"),
        ({"in_sop": [{"recipe": "x"}]}, "in_sop: is no set of parameters"),
        ({"in_sop": "nonsense"}, "is not recipe:parameter=value"),
        ({"enable": "perhaps"}, "must be true or false"),
        ({"in_sog": SOF}, "no such port: in_sog"),
    ],
)
def test_wrong_ports_are_told(tmp_path, capsys, changes, words):
    assert main("soxs_mflat", write_ports(tmp_path, **changes), ask(Decision())) == InputError.exit_code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_a_file_that_is_not_json_is_told(tmp_path, capsys):
    (tmp_path / "in.json").write_text("{")
    assert main("soxs_mflat", ["--input-parameters-file", str(tmp_path / "in.json")]) == InputError.exit_code
    assert "is not JSON" in capsys.readouterr().err


def test_what_is_printed_goes_to_files_too(tmp_path, capsys):
    arguments = [*write_ports(tmp_path, in_sof="x")[:2], "--stderr-file", str(tmp_path / "err")]
    assert main("soxs_mflat", arguments) == InputError.exit_code
    assert (tmp_path / "err").read_text() == capsys.readouterr().err != ""


def test_tokens_survive_a_round_trip():
    assert sof_token(file_set(SOF, "in_sof")) == SOF
    assert sop_token(parameter_list(SOP, "in_sop")) == SOP
    assert parameter_list("", "in_sop") == []


def test_the_run_of_the_workflow_goes_on_and_another_is_repeated(fake_session, finish):
    fake_session.start()
    finish(fake_session)
    assert decision_of(fake_session) == Decision()
    fake_session.set("edge-degree", 8)
    fake_session.set("denoise", "false")
    fake_session.start()
    finish(fake_session)
    repeat = decision_of(fake_session).repeat
    assert len(repeat) == len(fake_session.declaration.parameters)
    changed = {name: value for name, value in repeat.items() if name in ("edge-degree", "denoise", "edge-sigma")}
    assert changed == {"edge-degree": "8", "denoise": "false", "edge-sigma": "5.0"}
    fake_session.show(fake_session.runs[0])
    assert decision_of(fake_session) == Decision()


def test_without_a_display_the_workflow_goes_on(tmp_path):
    """As Reflex itself does when its window cannot be opened: told, and passed through."""
    variables = {
        name: value for name, value in environment().items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    script = next(path for path in SCRIPTS if path.stem == "soxs_mflat")
    sop = [entry for entry in SOP if entry["recipe"] == "soxs_mflat"]
    product = tmp_path / "MASTER_FLAT_VIS.fits"
    fits.PrimaryHDU().writeto(product)
    made = {**SOF, "files": [{**SOF["files"][0], "name": str(product)}]}
    done = subprocess.run(
        [sys.executable, script, *write_ports(tmp_path, in_sop=sop, in_sof=made)],
        capture_output=True, text=True, env={**variables, "MPLBACKEND": "TkAgg"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no window can be opened" in done.stderr
    assert outputs_of(tmp_path)["iteration_complete"] == "true"


def run_with_reflex(recipe, files, enable="true"):
    ports = json.dumps({"enable": enable, "files": files})
    script = next(path for path in SCRIPTS if path.stem == recipe)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False,
        env=environment(path=[str(HERE / "fake_reflex")], FAKE_REFLEX=ports),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_in_reflex_its_own_window_is_used(real_session):
    products = [(str(path), "MASTER_FLAT_VIS" if "MASTER" in path.name else "ORDER_TAB_EDGES_VIS")
                for path in real_session.runs[0].products[:2]]  # fmt: skip
    seen = run_with_reflex("soxs_mflat", [*products, ("/raw.fits", "FLAT_SLIT_VIS")])
    declaration = recipe_class("soxs_mflat").declaration
    assert seen["mode"] == "shown"
    assert seen["names"] == [parameter.name for parameter in declaration.parameters]
    assert "Order edges" in seen["groups"]
    assert seen["tooltips"]
    assert "MASTER_FLAT_VIS" in seen["tooltips"][0]


def test_in_reflex_without_products(tmp_path):
    assert run_with_reflex("soxs_stare", [])["texts"] == ["No product to show."]
    assert run_with_reflex("soxs_stare", [], enable="false")["mode"] == "continue"
