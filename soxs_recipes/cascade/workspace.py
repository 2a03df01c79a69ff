"""Where results live: one folder beside (or away from) the raw frames, with settings, products and an index.

    <workspace>/soxs.yaml          settings
    <workspace>/soxs.db            index; may be deleted, it is rebuilt
    <workspace>/products/<night>/<task>/<call>/    products of one recipe call, `job.json` written last
    <workspace>/plots/…  logs/…  sof/…             beside them, in the same order
    <workspace>/superseded/<key>/  the result that a changed parameter replaced: going back costs nothing
    <workspace>/sessions/<name>/   the same again, with settings of its own
Raw frames are never moved, renamed or written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from soxs_recipes.cascade.index import Index
from soxs_recipes.errors import InputError

__all__ = ["BASE_SESSION", "Workspace", "find_workspace", "is_workspace", "safe_name"]

WORKSPACE_FOLDER = "soxs"
BASE_SESSION = "base"
_MARKER = "soxs.db"
_SETTINGS = "soxs.yaml"
_RESERVED = frozenset({"CON", "PRN", "AUX", "NUL"} | {f"{d}{n}" for d in ("COM", "LPT") for n in range(1, 10)})


def safe_name(text: object, longest: int = 40) -> str:
    """Any text as part of a file name: letters, digits, `.`, `_`, `+` and inner `-` stay, all else becomes `_`."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", str(text)).strip("._-")[:longest].rstrip("._-")
    return f"{name}_" if name.upper() in _RESERVED else name or "unnamed"


def find_workspace(folder: Path, output: Path | None = None) -> tuple[Path, Path]:
    """Folder of raw frames and folder of the workspace that belong to what a user named.

    `folder` may be the raw folder or a workspace; `output` puts the workspace elsewhere.

    Raises
    ------
    InputError
        The folder is not there.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: {'not a folder' if folder.exists() else 'there is no such folder'}")
    folder = folder.resolve()
    if output is not None:
        return folder, output.expanduser().resolve()
    if is_workspace(folder):
        return _raw_folder_of(folder), folder
    return folder, folder / WORKSPACE_FOLDER


def is_workspace(folder: Path) -> bool:
    """Whether a folder is a workspace; its index may have been deleted."""
    return (folder / _MARKER).is_file() or ((folder / _SETTINGS).is_file() and (folder / "products").is_dir())


def _raw_folder_of(root: Path) -> Path:
    index = Index(root / _MARKER)
    try:
        noted = index.note("raw_folder")
    finally:
        index.close()
    if noted:
        return Path(noted)
    # The index was deleted: results know their frames.
    jobs = map(_read_mapping, (root / "products").glob("*/*/*/job.json"))
    folders = {str(Path(str(frame)).parent) for job in jobs for frame in job.get("frames", [])}
    return Path(os.path.commonpath(folders)) if folders else root.parent


class Workspace:
    """One workspace and one of its sessions.

    Parameters
    ----------
    root : Path
    raw_folder : Path
    session : str or None
        None: the session that was chosen last.

    Raises
    ------
    InputError
        The folder cannot be written, or there is no such session.
    """

    def __init__(self, root: Path, raw_folder: Path, session: str | None = None):
        self.root, self.raw_folder = root, raw_folder
        self._make(root)
        chosen = root / "session"
        self.session = session or (chosen.read_text().strip() if chosen.is_file() else BASE_SESSION)
        self.folder = root if self.session == BASE_SESSION else root / "sessions" / self.session
        if not self.folder.is_dir():
            known = ", ".join(self.sessions())
            raise InputError(
                f"{root}: no session {self.session!r}; there are: {known} (soxs session new makes one)"
            )
        self.index = Index(self.folder / _MARKER)
        self.index.set_note("raw_folder", str(raw_folder))

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".write-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written ({error.strerror}); choose another place with -o FOLDER"
            ) from error

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    # -- places ---------------------------------------------------------------------------------------------
    @property
    def products(self) -> Path:
        """Where products are."""
        return self.folder / "products"

    @property
    def settings(self) -> Path:
        """The settings file of the session."""
        return self.folder / _SETTINGS

    def place(self, kind: str, job_name: str) -> Path:
        """Folder of one call within `products`, `plots`, `logs` or `sof`; job names hold safe parts only."""
        return self.folder / kind / job_name

    @property
    def scratch(self) -> Path:
        """Where running calls write."""
        return self.folder / "tmp"

    def sweep(self) -> None:
        """Remove what an interrupted run left behind."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    # -- sessions -------------------------------------------------------------------------------------------
    def sessions(self) -> list[str]:
        """Names of the sessions, the base session first."""
        folder = self.root / "sessions"
        named = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        return [BASE_SESSION, *named]

    def new_session(self, name: str) -> Path:
        """Make a session: its own settings (begun as a copy of this one's), products and index."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", name) or name == BASE_SESSION:
            raise InputError(f"session name {name!r}: use up to 32 letters, digits, '.', '_' or '-'")
        folder = self.root / "sessions" / name
        if folder.exists():
            raise InputError(f"{self.root}: session {name!r} exists already")
        folder.mkdir(parents=True)
        if self.settings.is_file():
            shutil.copy(self.settings, folder / _SETTINGS)
        index = Index(folder / _MARKER)
        index.replace_frames(self.index.frames())
        index.close()
        return folder

    def choose_session(self, name: str) -> None:
        """Make a session the current one."""
        if name not in self.sessions():
            raise InputError(f"{self.root}: no session {name!r}; there are: {', '.join(self.sessions())}")
        _write_whole(self.root / "session", name + "\n")

    # -- lock -----------------------------------------------------------------------------------------------
    @contextmanager
    def locked(self, *, break_lock: bool = False) -> Iterator[None]:
        """Hold the workspace for one writer.

        Raises
        ------
        InputError
            Another run holds it; the message names its process and host.
        """
        from filelock import FileLock, Timeout

        owner_file = self.folder / "soxs.lock.json"
        lock = FileLock(self.folder / "soxs.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(f"{self.folder}: in use by {_owner(owner_file)}; wait for it or stop it") from error
        try:
            self._refuse_other_host(owner_file, break_lock=break_lock)
            _write_whole(owner_file, json.dumps(_this_process()))
            yield
            owner_file.unlink(missing_ok=True)
        finally:
            if _read_mapping(owner_file).get("pid") == os.getpid():
                owner_file.unlink(missing_ok=True)
            lock.release()

    @staticmethod
    def _refuse_other_host(owner_file: Path, *, break_lock: bool) -> None:
        """On a shared disk the system's lock may not reach the other host, but the owner's note does."""
        owner = _read_mapping(owner_file)
        if owner and owner.get("host") != socket.gethostname() and not break_lock:
            raise InputError(
                f"{owner_file}: {_owner(owner_file)} did not release the workspace; when it is no longer running, "
                "use --break-lock"
            )


def _this_process() -> dict[str, object]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": started}


def _read_mapping(path: Path) -> dict[str, object]:
    """What a JSON file holds; nothing when it is not there or is none."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _owner(path: Path) -> str:
    owner = _read_mapping(path)
    if not owner:
        return "another soxs run"
    return f"process {owner.get('pid')} on {owner.get('host')} since {owner.get('started')}"


def _write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
