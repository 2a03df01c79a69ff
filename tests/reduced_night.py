"""Running the command as a user does, and looking at what came of it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from soxs_recipes.fits_files import read_header
from soxs_recipes.simulator import NightTruth


def run_soxs(*words, timeout=600):
    """Run the command as a user does: in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "soxs_recipes.cli", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)


@dataclass(frozen=True)
class ReducedNight:
    """A night, where its products are, and what the commands said."""

    truth: NightTruth
    workspace: Path
    prep: subprocess.CompletedProcess
    reduce: subprocess.CompletedProcess
    seconds: float

    @property
    def folder(self):
        return self.truth.folder

    def products(self, tag):
        """Products of a PRO CATG, in order of their names."""
        found = [path for path in sorted(self.workspace.glob("products/**/*.fits")) if catg(path) == tag]
        assert found, f"no product {tag}"
        return found

    def product(self, tag, *words):
        """The product of a PRO CATG whose path holds all words."""
        (found,) = [path for path in self.products(tag) if all(word in str(path) for word in words)]
        return found

    def report(self, *options):
        """What `reduce all --json` tells, without repeating anything."""
        done = run_soxs("reduce", "all", self.folder, "--json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def catg(path):
    return str(read_header(path)["HIERARCH ESO PRO CATG"])
