"""The script behind `make esorex`, as far as it goes without a network: what it says when it cannot go on."""

import shutil

import pytest
from real_programs import ROOT, run

SCRIPT = ROOT / "tools" / "build_esorex.sh"
NEEDED = ("bash", "cksum", "cut", "dirname", "env", "grep", "mkdir", "tr")


@pytest.fixture
def build(tmp_path):
    """Run it where there are no programs but the simplest, and those of `fakes` (name -> what it does)."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "venv").mkdir()
    for name in NEEDED:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))

    def call(**fakes):
        for name, body in fakes.items():
            program = tmp_path / "bin" / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{body}\n")
            program.chmod(0o755)
        words = ["/bin/bash", SCRIPT, tmp_path / "esorex", tmp_path / "venv"]
        return run(words, env={"PATH": str(tmp_path / "bin")})

    return call


def test_it_wants_two_folders():
    done = run(["/bin/bash", SCRIPT])
    assert done.returncode == 2
    assert "FOLDER VENV" in done.stderr


def test_without_apt_it_says_what_else_would_do(build):
    done = build()
    assert done.returncode == 1
    assert "--enable-python-recipes" in done.stderr
    assert "PATH" in done.stderr


def test_without_rights_it_says_what_to_install(build):
    done = build(apt_get="exit 0", dpkg_query="exit 1", id="echo 1000")
    assert done.returncode == 1
    assert "as root: apt-get install g++ make" in done.stderr
    assert "libcpl-dev" in done.stderr


def test_an_installation_that_fails_is_tried_on_fresh_lists_and_told(build, tmp_path):
    log = tmp_path / "calls"
    done = build(
        apt_get=f'echo "$*" >>{log}; case "$*" in *update*) exit 0;; esac; exit 1',
        dpkg_query="exit 1",
        id="echo 0",
    )
    assert done.returncode == 1
    assert "apt-get could not install" in done.stderr
    words = [next(word for word in ("update", "install") if word in line) for line in log.read_text().splitlines()]
    assert words == ["install", "update", "install"]


def test_no_host_is_named():
    assert "://" not in SCRIPT.read_text()
