"""Put the files by which a runner finds the recipes where the user wants them."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from soxs_recipes.errors import InputError

__all__ = ["RUNNERS", "Installed", "Runner", "default_folder", "install_plugins"]


@dataclass(frozen=True, slots=True)
class Runner:
    """A program that runs recipes of others.

    Attributes
    ----------
    name : str
        Its name, and that of the folder here that holds what it scans.
    variable : str
        The environment variable that names the folders it scans.
    listing : str
        The command that lists the recipes it found.
    """

    name: str
    variable: str
    listing: str

    @property
    def files(self) -> list[Path]:
        """What is installed."""
        return sorted((Path(__file__).parent / self.name).glob("*.py"))


RUNNERS = {
    runner.name: runner
    for runner in (
        Runner("pyesorex", "PYESOREX_PLUGIN_DIR", "pyesorex --recipes"),
        Runner("esorex", "ESOREX_PLUGIN_DIR", "esorex --recipes"),
    )
    if runner.files
}


@dataclass(frozen=True, slots=True)
class Installed:
    """What was put where for a runner, and the shell's line that tells the runner."""

    runner: Runner
    folder: Path
    files: tuple[Path, ...]

    @property
    def export_line(self) -> str:
        """Folders that the variable names already stay behind ours."""
        variable = self.runner.variable
        return f"export {variable}={shlex.quote(str(self.folder))}${{{variable}:+:${variable}}}"


def default_folder() -> Path:
    """The user's own place for data of programs: $XDG_DATA_HOME, else ~/.local/share."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "soxs-recipes" / "plugins"


def install_plugins(folder: Path, runners: Iterable[Runner] | None = None) -> list[Installed]:
    """Copy the files of each runner into a folder of its own below `folder`.

    Older copies are replaced; files of recipes that are no more (`soxs_*.py`) are removed.

    Parameters
    ----------
    folder : Path
        Made when missing.
    runners : iterable of Runner or None
        All by default.

    Returns
    -------
    list of Installed

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    installed = []
    for runner in RUNNERS.values() if runners is None else runners:
        place = folder.expanduser().absolute() / runner.name
        try:
            place.mkdir(parents=True, exist_ok=True)
            for old in {path.name for path in place.glob("soxs_*.py")} - {path.name for path in runner.files}:
                (place / old).unlink()
            files = tuple(Path(shutil.copyfile(file, place / file.name)) for file in runner.files)
        except OSError as error:
            raise InputError(
                f"{place}: cannot be written ({error.strerror}); choose another folder with --dir"
            ) from error
        installed.append(Installed(runner, place, files))
    return installed
