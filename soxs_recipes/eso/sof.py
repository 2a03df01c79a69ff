"""Sets of frames on disk: read generously, written with absolute paths."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from soxs_recipes.errors import InputError

__all__ = ["SofEntry", "parse_sof", "read_sof", "sof_text", "write_sof"]

_GROUPS = frozenset({"RAW", "CALIB", "PRODUCT"})
_SIZE_LIMIT = 10_000_000
_QUOTES = ('"', "'")


@dataclass(frozen=True, slots=True)
class SofEntry:
    """One line: path, tag (may be empty), group (RAW, CALIB, PRODUCT or empty)."""

    path: Path
    tag: str = ""
    group: str = ""


def read_sof(path: str | os.PathLike) -> list[SofEntry]:
    """Entries of a SOF file.

    `#` begins a comment (at a line's start or after white space). Relative paths are tried from the SOF's folder,
    then from the working directory; `$VAR` and `~` are expanded. A path with blanks is written in quotes, in which
    nothing is expanded; without them, the last words are taken as tag and group.

    Raises
    ------
    InputError
        The file cannot be read, or is no text.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            raise InputError(f"{path}: far too large for a set of frames")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give an existing set of frames") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a set of frames (not text)") from error
    return parse_sof(text, path.absolute().parent)


def parse_sof(text: str, folder: Path) -> list[SofEntry]:
    """Entries of a SOF's text; `folder` is where relative paths begin."""
    entries = []
    for line in text.splitlines():
        words = _words(line)
        if words:
            is_quoted = line.lstrip().startswith(_QUOTES)
            entries.append(_entry(words, folder, expand=not is_quoted))
    return entries


def _words(line: str) -> list[str]:
    if line.lstrip().startswith(_QUOTES):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters = True, ""
        # Only what `sof_text` writes is quoted so: no escapes but of the quote itself.
        try:
            words = list(lexer)
        except ValueError:
            words = line.split()
    else:
        words = line.split()
    for position, word in enumerate(words):
        if word.startswith("#"):
            return words[:position]
    return words


def _entry(words: list[str], folder: Path, *, expand: bool) -> SofEntry:
    first = _located(words[0], folder, expand=expand)
    if len(words) == 1 or _exists(first):
        return _tagged(first, words[1:])
    # Not there: perhaps a path with blanks, whose last words are tag and group.
    for cut in range(len(words), 1, -1):
        path = _located(" ".join(words[:cut]), folder, expand=expand)
        if _exists(path):
            return _tagged(path, words[cut:])
    return _tagged(first, words[1:])


def _exists(path: Path) -> bool:
    # os.path answers False where pathlib raises: names too long or with a NUL.
    return os.path.exists(path)  # noqa: PTH110


def _tagged(path: Path, rest: list[str]) -> SofEntry:
    group = rest[1].upper() if len(rest) > 1 and rest[1].upper() in _GROUPS else ""
    return SofEntry(path, rest[0] if rest else "", group)


def _located(text: str, folder: Path, *, expand: bool) -> Path:
    """Absolute path: from the SOF's folder, else from the working directory, else as from the SOF's folder."""
    plain = Path(os.path.expanduser(os.path.expandvars(text)) if expand else text)  # noqa: PTH111
    if plain.is_absolute():
        return plain
    beside = Path(os.path.normpath(folder / plain))
    here = Path.cwd() / plain
    return here if not _exists(beside) and _exists(here) else beside


def sof_text(entries: Iterable[SofEntry]) -> str:
    """The text of a SOF, absolute paths, one entry a line.

    InputError for a path that no line can hold (a line break in it).
    """
    lines = []
    for entry in entries:
        path = str(Path(entry.path).absolute())
        if "\n" in path or "\r" in path or len(path.splitlines()) != 1:
            raise InputError(f"{path!r}: a path with a line break cannot stand in a set of frames; rename it")
        needs_quotes = any(character.isspace() or character in "#'\"\\$~" for character in path)
        quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"' if needs_quotes else path
        lines.append(" ".join(part for part in (quoted, entry.tag, entry.group) if part))
    return "".join(f"{line}\n" for line in lines)


def write_sof(path: str | os.PathLike, entries: Iterable[SofEntry]) -> Path:
    """Write a SOF file; returns its path."""
    path = Path(path)
    path.write_text(sof_text(entries), encoding="utf-8")
    return path
