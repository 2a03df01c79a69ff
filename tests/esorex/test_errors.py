"""How EsoRex ends when something is wrong: its own codes, ours, and what the user reads."""

import json
import os
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest
from bias_frames import write_biases

from soxs_recipes import errors
from soxs_recipes.plugins.esorex_plugin import plugin_class
from soxs_recipes.recipes.mbias import MasterBias

OURS = {
    "InputError": 20,
    "CalibrationMissing": 21,
    "UnprocessableData": 22,
    "AlgorithmError": 23,
    "Interrupted": 130,
    "SoxsError": 1,
}


@pytest.fixture
def bias_sof(tmp_path):
    """A set of five biases, with other pixels when they are given."""

    def make(pixels=None):
        sof = tmp_path / "bias.sof"
        sof.write_text("".join(f"{tmp_path}/{name} BIAS_VIS\n" for name in write_biases(tmp_path, pixels)))
        return sof

    return make


FAILING = """
from soxs_recipes import errors
from soxs_recipes.plugins import esorex_plugin
from soxs_recipes.recipes.mbias import MasterBias

class Failing(MasterBias):
    def process(self, inputs, parameters, outputs):
        raise {failure}

class Plugin(esorex_plugin.CplPlugin):
    recipe = Failing
"""


@pytest.mark.parametrize("name", OURS)
def test_a_class_of_errors_has_its_code(esorex, name, bias_sof, tmp_path):
    assert getattr(errors, name).exit_code == OURS[name]
    (tmp_path / "plugins").mkdir()
    failure = f"errors.{name}('the cause is here')"
    (tmp_path / "plugins" / "failing.py").write_text(FAILING.format(failure=failure))
    done = esorex("soxs_mbias", bias_sof(), recipes=tmp_path / "plugins", cwd=tmp_path)
    assert done.returncode == OURS[name]
    assert "the cause is here" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("*MASTER*"))


@pytest.mark.parametrize(("failure", "code"), [("ZeroDivisionError('no')", 1), ("KeyboardInterrupt", 130)])
def test_what_should_not_happen_is_told_too(esorex, failure, code, bias_sof, tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "failing.py").write_text(FAILING.format(failure=failure))
    done = esorex("soxs_mbias", bias_sof(), recipes=tmp_path / "plugins", cwd=tmp_path)
    assert done.returncode == code
    assert "soxs_mbias" in done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (code == 1)


AS_FROM_A_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_ctrl_c_ends_both_with_one_line(esorex, bias_sof, tmp_path):
    """The key reaches EsoRex and its Python alike."""
    (tmp_path / "plugins").mkdir()
    waiting = "[print('waiting', flush=True), __import__('time').sleep(60), KeyError][-1]"
    (tmp_path / "plugins" / "failing.py").write_text(FAILING.format(failure=waiting))
    words = [str(esorex.program), "soxs_mbias", str(bias_sof())]
    environment = esorex.environment(recipes=tmp_path / "plugins")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # As from a terminal: what a shell starts in the background has the key ignored, and so have its children.
    words = [sys.executable, "-c", AS_FROM_A_TERMINAL, *words]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, start_new_session=True, **pipes) as process:
        assert any("waiting" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        errors_told = process.communicate(timeout=30)[1]
    assert process.returncode == -signal.SIGINT
    assert "interrupted; no product was written" in errors_told
    assert "Traceback" not in errors_told


def test_frames_that_cannot_be_used_are_named(esorex, bias_sof, tmp_path):
    done = esorex("soxs_mbias", bias_sof(np.zeros((2048, 454))), cwd=tmp_path)
    assert done.returncode == errors.UnprocessableData.exit_code
    assert "bias0" in done.stderr
    assert "all pixels are zero" in done.stderr


def test_no_frame_of_the_recipe(esorex, bias_sof, tmp_path):
    done = esorex("soxs_mflat", bias_sof(), cwd=tmp_path)
    assert done.returncode == errors.InputError.exit_code
    assert "FLAT_SLIT" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("soxs_nothing",), 13),
        (("soxs_mbias", "nowhere.sof"), 9),
        (("soxs_mbias", "--nothing=3", "{sof}"), 255),
        (("soxs_lingain", "--degree=99", "{sof}"), 255),
    ],
)
def test_its_own_checks_come_first(esorex, words, code, bias_sof, tmp_path):
    sof = bias_sof()
    done = esorex(*(word.format(sof=sof) for word in words), cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr


def test_a_value_out_of_range_that_it_does_not_check_is_refused_by_us(esorex, bias_sof, tmp_path):
    """A range without an upper end is none to CPL."""
    done = esorex("soxs_mbias", "--stack-sigma=0.5", bias_sof(), cwd=tmp_path)
    assert done.returncode == errors.InputError.exit_code
    assert "stack-sigma = 0.5: must be 2 or more" in done.stderr


@pytest.mark.parametrize("check", ["TRUE", "FALSE"])
def test_a_frame_that_is_not_there(esorex, check, bias_sof, tmp_path):
    """EsoRex looks before the recipe does, unless asked not to."""
    sof = bias_sof()
    (tmp_path / "bias3.fits").unlink()
    done = esorex(f"--check-sof-exist={check}", "soxs_mbias", sof, cwd=tmp_path)
    assert done.returncode == (9 if check == "TRUE" else errors.InputError.exit_code)
    assert "bias3.fits" in done.stdout + done.stderr


def run_plugin(frames, **values):
    """`execute` as EsoRex calls it: plain JSON in, plain JSON out."""
    ((_, kind),) = plugin_class("soxs_mbias").items()
    plugin = kind()
    entries = [
        {"name": entry["name"], "value": values.get(entry["cli_alias"], entry["default"])}
        for entry in plugin.parameters
    ]
    message = json.loads(json.dumps({"frames": frames, "parameters": entries}))
    code = plugin.execute(message)
    return code, json.loads(json.dumps(message)), plugin.error_message


def test_frames_come_back_with_groups_and_products_behind(bias_sof, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [line.split()[0] for line in bias_sof().read_text().splitlines()]
    frames = [{"filename": name, "tag": "", "type": 1, "group": 0, "level": 0} for name in names]
    code, message, error = run_plugin(frames)
    assert (code, error) == (0, "")
    assert [(entry["filename"], entry["tag"], entry["group"]) for entry in message["frames"][:5]] == [
        (name, "BIAS_VIS", 1) for name in names
    ]
    products = message["frames"][5:]
    assert [entry["tag"] for entry in products] == ["MASTER_BIAS_VIS", "BP_MAP_RP_VIS"]
    assert all((entry["group"], entry["level"], entry["type"]) == (3, 3, 2) for entry in products)
    assert all((tmp_path / entry["filename"]).is_file() for entry in products)
    assert not any("/" in entry["filename"] for entry in products)


def test_no_exception_leaves_execute(monkeypatch):
    monkeypatch.setattr(MasterBias, "run", lambda *_: 1 / 0)
    code, message, error = run_plugin([])
    assert code == 1
    assert error == "ZeroDivisionError: division by zero"
    assert message["frames"] == []


# What EsoRex gives to `python`: its script comes by descriptor 3, the answer goes out by 4.
AS_ESOREX = "import sys, os, json; _data = json.load(os.fdopen(3, 'r')); exec(_data['script'])"
SCRIPT = """
import atexit, time
atexit.register(time.sleep, 60)
from soxs_recipes.plugins.esorex_plugin import plugin_class
((_, kind),) = plugin_class("soxs_mbias").items()
plugin = kind()
result = plugin.execute({"frames": [], "parameters": []})
json.dump({"result": result, "error": plugin.error_message}, os.fdopen(4, "w"))
"""


@pytest.mark.parametrize(("tail", "code"), [("", 0), ("1 / 0", 1)])
def test_the_process_ends_with_the_script(tail, code, tmp_path):
    """EsoRex kills what needs ten seconds to end, and takes the run for failed."""
    script = SCRIPT.replace("time.sleep, 60", "print, 'late'") if code else SCRIPT
    (tmp_path / "in").write_text(json.dumps({"script": script + tail}))
    words = shlex.join([sys.executable, "-c", AS_ESOREX])
    done = subprocess.run(
        ["sh", "-c", f"exec {words} 3<in 4>out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == code, done.stderr
    answer = json.loads((tmp_path / "out").read_text())
    assert answer["result"] == errors.InputError.exit_code
    assert "the set of frames is empty" in answer["error"]
    assert "the set of frames is empty" in done.stdout + done.stderr
    assert ("late" in done.stdout) == bool(code)
