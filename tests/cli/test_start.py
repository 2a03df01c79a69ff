import subprocess
import sys

import pytest

from soxs_recipes.cli.main import COMMANDS
from soxs_recipes.recipes.framework.registry import RECIPES

HEAVY = ("numpy", "scipy", "astropy", "numba", "matplotlib", "rich", "yaml")


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env=environment or None)  # fmt: skip


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["reduce", "--help"], ["reduce", "all", "--help"],
                                   ["plan", "--help"], ["session", "--help"]])  # fmt: skip
def test_help_loads_nothing_heavy(words):
    code = (
        "import sys; from soxs_recipes.cli.main import main\n"
        f"assert main({words!r}) == 0\n"
        f"print('LOADED', sorted(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stderr
    assert done.stdout


def test_help_names_every_word(soxs):
    code, out, _ = soxs("--help")
    assert code == 0
    for word in (*COMMANDS, *(entry.commands[0] for entry in RECIPES.values())):
        assert f"  {word} " in out


def test_every_word_can_be_loaded(soxs):
    for word in COMMANDS:
        code, out, err = soxs(word, "--help")
        assert (code, err) == (0, "")
        assert out.startswith("Usage: soxs")


def test_unknown_words_are_answered_with_the_nearest(soxs):
    code, _, err = soxs("mflta")
    assert code == 2
    assert "Did you mean mflat?" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(soxs, shell):
    code, out, _ = soxs("completion", shell)
    assert code == 0
    assert "_SOXS_COMPLETE" in out


@pytest.mark.parametrize(("words", "known"), [("soxs red", "reduce"), ("soxs man stra", "straighten")])
def test_completion_knows_the_words(words, known):
    code = "from soxs_recipes.cli.main import soxs; soxs(prog_name='soxs')"
    last = str(words.count(" "))
    done = python(code, PATH="/bin", _SOXS_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=last)
    assert known in done.stdout


def test_an_austere_environment_is_enough():
    code = "from soxs_recipes.cli.main import main; raise SystemExit(main(['reduce', 'all', '/no/such/place']))"
    done = python(code, PATH="/bin", LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 20
    assert done.stderr == "soxs: error: /no/such/place: there is no such folder\n"
