"""Programs of others that the tests run as a user would: EsoRex, fitsverify."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import soxs_recipes

ROOT = Path(soxs_recipes.__file__).parent.parent
RECIPE_FOLDER = Path(soxs_recipes.__file__).parent / "plugins" / "esorex"
BUILT = ROOT / ".esorex"


def absent(program: str) -> None:
    """Skip, visibly; where nobody would see it, in CI, fail."""
    message = f"{program} is not here: make esorex gets it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def run(words, **options) -> subprocess.CompletedProcess:
    """A program's exit code and what it said."""
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **options)


@dataclass(frozen=True)
class EsoRex:
    """EsoRex with a `python` of its own on PATH and without the user's settings."""

    program: Path
    home: Path

    def __call__(self, *words, cwd=None, **surroundings):
        """Run it; `surroundings` as of `environment`."""
        return run([self.program, *words], cwd=cwd or self.home, env=self.environment(**surroundings))

    def environment(self, recipes=RECIPE_FOLDER, python_options="", path=ROOT):
        """Environment in which `recipes` is the folder of plugins, `path` the PYTHONPATH (None for none)."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("ESOREX", "PYTHON"))}
        commands = self.home / "bin"
        commands.mkdir(exist_ok=True)
        python = commands / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" {python_options} "$@"\n')
        python.chmod(0o755)
        environment = kept | {
            "HOME": str(self.home),
            "PATH": f"{commands}:{os.environ['PATH']}",
            "ESOREX_PLUGIN_DIR": str(recipes),
        }
        return environment if path is None else environment | {"PYTHONPATH": str(path)}


def find_esorex(folder: Path) -> EsoRex:
    """The one that `make esorex` built, else one on PATH that runs Python recipes."""
    built = BUILT / "libexec" / "esorex"
    found = built if built.exists() else shutil.which("esorex")
    if found is None:
        absent("EsoRex")
    esorex = EsoRex(Path(found), folder)
    probe = folder / "probe"
    probe.mkdir()
    (probe / "probe.py").write_text(
        "class CplPlugin:\n"
        "    name = 'probe'\n"
        "    version = 1\n"
        "    synopsis = description = author = email = copyright = 'text'\n"
        "    parameters = []\n"
    )
    if "probe" not in esorex("--recipes", recipes=probe).stdout:
        absent(f"an EsoRex with Python recipes ({found} has none)")
    return esorex


@dataclass(frozen=True)
class FitsVerify:
    """fitsverify, which knows the FITS standard better than any library that writes files."""

    program: str

    def faults(self, *paths) -> list[str]:
        """What it has to say, errors and warnings; nothing of sound files."""
        assert paths, "no file to verify"
        done = run([self.program, *paths])
        verdicts = [line for line in done.stdout.splitlines() if "Verification found" in line]
        assert len(verdicts) == len(paths), done.stdout + done.stderr
        if all("0 warning(s) and 0 error(s)" in line for line in verdicts):
            return []
        told = (done.stdout + done.stderr).splitlines()
        return [line for line in told if line.startswith(("File:", "***"))]


def find_fitsverify() -> FitsVerify:
    """The one on PATH."""
    found = shutil.which("fitsverify")
    if found is None:
        absent("fitsverify")
    return FitsVerify(found)
