"""Files that are written from the declarations and kept beside the code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["build", "stale_files"]


def stale_files(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Names of the files that are missing or hold another text."""
    return [
        name
        for name, text in files.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def build(description: str, folder: Path, files: Mapping[str, str], arguments: Sequence[str] | None = None) -> int:
    """Command of a script that writes such files: the exit code, 1 when `--check` finds one that differs.

    Parameters
    ----------
    description : str
        For `--help`.
    folder : Path
        Made if needed.
    files : mapping
        Name to text.
    arguments : sequence of str or None
        None: of the command line.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args(arguments).check
    stale = stale_files(folder, files)
    if not check:
        folder.mkdir(exist_ok=True)
        for name in stale:
            (folder / name).write_text(files[name], encoding="utf-8")
    sys.stdout.write(f"{len(stale)} files {'differ' if check else 'written'}: {', '.join(stale) or 'none'}\n")
    return int(check and bool(stale))
