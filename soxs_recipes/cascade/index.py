"""The workspace's index: an SQLite file that remembers frames and results and can be rebuilt from both."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from soxs_recipes.cascade.frames import FrameRecord
from soxs_recipes.errors import InputError

__all__ = ["SCHEMA_VERSION", "Index", "is_network_file_system"]

SCHEMA_VERSION = 1
_TABLES = """
BEGIN;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE frames (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, checksum TEXT NOT NULL,
    tag TEXT NOT NULL, arm TEXT NOT NULL, night TEXT NOT NULL, problem TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE results (
    job TEXT PRIMARY KEY, task TEXT NOT NULL, key TEXT NOT NULL, status TEXT NOT NULL, folder TEXT NOT NULL,
    seconds REAL NOT NULL, error TEXT NOT NULL, record TEXT NOT NULL);
CREATE TABLE qc (
    job TEXT NOT NULL, product TEXT NOT NULL, keyword TEXT NOT NULL, value REAL NOT NULL, comment TEXT NOT NULL,
    PRIMARY KEY (job, product, keyword));
PRAGMA user_version = 1;
COMMIT;
"""
_NETWORK = ("nfs", "cifs", "smb", "afs", "lustre", "gpfs", "ceph", "beegfs", "fuse.sshfs", "9p", "glusterfs")


def is_network_file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a folder lies on a mount that SQLite's shared memory does not work on."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return False
    best, kind = "", ""
    resolved = f"{folder.resolve()}/"
    for fields in (line.split() for line in lines):
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").rstrip("/") + "/"
        if resolved.startswith(point) and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind.startswith(_NETWORK)


class Index:
    """Frames and results of a workspace.

    Opening creates the file when it is not there; a file that SQLite cannot read, or of an older schema, is set
    aside and begun anew (`was_rebuilt` tells); one of a newer schema is refused.
    """

    def __init__(self, path: Path):
        self.path = path
        self.was_rebuilt = False
        try:
            self._connection = self._opened()
        except sqlite3.OperationalError as error:
            raise InputError(f"{path}: cannot be made ({error})") from error

    def _opened(self) -> sqlite3.Connection:
        exists = self.path.exists() and self.path.stat().st_size > 0
        connection, version = self._checked()
        if exists and version == SCHEMA_VERSION:
            return connection
        if exists:
            if connection is not None:
                connection.close()
            if version > SCHEMA_VERSION:
                raise InputError(
                    f"{self.path}: written by a newer soxs (schema {version}, this one knows {SCHEMA_VERSION}); "
                    "update soxs-recipes"
                )
            self._set_aside()
            connection = None
        connection = connection or self._connected()
        connection.executescript(_TABLES)
        return connection

    def _checked(self) -> tuple[sqlite3.Connection | None, int]:
        """(connection, schema version) of the file as it is; no connection and 0 when it is damaged."""
        connection = None
        try:
            connection = self._connected()
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == SCHEMA_VERSION:
                connection.execute("SELECT count(*) FROM frames").fetchone()
                if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                    version = 0
        except sqlite3.DatabaseError as error:
            if connection is not None:
                connection.close()
            if any(word in str(error) for word in ("locked", "unable to open", "readonly", "full", "disk I/O")):
                raise InputError(f"{self.path}: cannot open the index ({error})") from error
            return None, 0
        return connection, version

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        on_network = is_network_file_system(self.path.parent)
        try:
            connection.execute("PRAGMA journal_mode = DELETE" if on_network else "PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL" if on_network else "PRAGMA synchronous = NORMAL")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> None:
        self.was_rebuilt = True
        self.path.replace(self.path.with_name(self.path.name + ".damaged"))
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise InputError(f"{self.path}: cannot be written ({error})") from error

    # -- frames ---------------------------------------------------------------------------------------------
    def frames(self) -> list[FrameRecord]:
        """All frames, by path."""
        rows = self._connection.execute("SELECT record FROM frames ORDER BY path")
        return [FrameRecord.from_mapping(json.loads(record)) for (record,) in rows]

    def replace_frames(self, frames: Iterable[FrameRecord]) -> None:
        """Forget the frames that were known and remember these."""
        rows = [
            (f.path, f.size, f.modified_ns, f.checksum, f.tag, f.arm, str(f.facts.get("night") or ""), f.problem,
             json.dumps(f.as_mapping(), allow_nan=False, default=str))
            for f in frames
        ]  # fmt: skip
        with self._transaction() as connection:
            connection.execute("DELETE FROM frames")
            connection.executemany("INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    # -- results --------------------------------------------------------------------------------------------
    def results(self) -> dict[str, dict[str, object]]:
        """Job name to what is known of its last run."""
        rows = self._connection.execute("SELECT job, record FROM results ORDER BY job")
        return {job: json.loads(record) for job, record in rows}

    def remember_result(self, result: Mapping[str, object]) -> None:
        """Store one result and the QC values of its products."""
        with self._transaction() as connection:
            self._insert_result(connection, result)

    def _insert_result(self, connection: sqlite3.Connection, result: Mapping[str, object]) -> None:
        job = result["job"]
        connection.execute("DELETE FROM qc WHERE job = ?", (job,))
        connection.execute(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (job, result["task"], result["key"], result["status"], result["folder"], result["seconds"],
             result["error"], json.dumps(result, default=str)),
        )  # fmt: skip
        rows = [
            (job, product["name"], keyword, value, "")
            for product in result["products"]
            for keyword, value in product.get("qc", {}).items()
            if isinstance(value, int | float)
        ]
        connection.executemany("INSERT OR REPLACE INTO qc VALUES (?, ?, ?, ?, ?)", rows)

    # -- notes ----------------------------------------------------------------------------------------------
    def note(self, name: str) -> str | None:
        """A remembered word, None when there is none."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_note(self, name: str, value: str) -> None:
        """Remember a word."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
