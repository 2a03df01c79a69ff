"""Find the frames of a folder and learn what each is, without ever changing or half-reading one."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from soxs_recipes.cascade.frames import FrameRecord, describe_frame, unusable_frame
from soxs_recipes.cascade.workspace import is_workspace
from soxs_recipes.errors import SoxsError

__all__ = ["FITS_SUFFIXES", "ScanResult", "find_fits_files", "scan_folder"]

FITS_SUFFIXES = (".fits", ".fits.gz", ".fits.Z", ".fits.fz", ".fit", ".fit.gz", ".fts")
_THREADS = 4
_FRESH_SECONDS = 5.0
_SETTLE_SECONDS = 1.0
_BLOCK = 2880
_CARD = 80
_DIMENSIONS_MAX = 999
_DECLARED_SUM = "datasum-"
# Clocks may tell no more than seconds: the place in the template parts exposures that began in one.
_OF_ONE_EXPOSURE = ("arm", "mjd", "exptime", "target", "template_start", "template_exposure")


@dataclass(frozen=True, slots=True)
class ScanResult:
    """All FITS files of a folder: those that can be used have no `problem`."""

    frames: tuple[FrameRecord, ...]
    seconds: float
    read: int

    @property
    def usable(self) -> tuple[FrameRecord, ...]:
        """Frames with a tag."""
        return tuple(frame for frame in self.frames if not frame.problem)

    @property
    def unusable(self) -> tuple[FrameRecord, ...]:
        """Frames with a problem."""
        return tuple(frame for frame in self.frames if frame.problem)


def find_fits_files(folder: Path, exclude: Path | None = None) -> tuple[list[Path], list[FrameRecord]]:
    """Regular FITS files below a folder, sorted, and records of what only looks like one.

    Links are followed, each folder and file is visited once; hidden folders and workspaces are passed over; what
    is not a regular file is never opened. Of one frame in several compressions the plainest is taken.
    """
    found: dict[tuple[int, int], Path] = {}
    odd: list[FrameRecord] = []
    for entry in _entries(folder, exclude, set()):
        path = Path(entry.path)
        if not path.name.endswith(FITS_SUFFIXES):
            continue
        try:
            status = entry.stat()
        except OSError as error:
            odd.append(unusable_frame(path, f"cannot be read ({error.strerror})"))
            continue
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            odd.append(unusable_frame(path, f"not a file but {kind}"))
            continue
        found.setdefault((status.st_dev, status.st_ino), path)
    plainest: dict[tuple[Path, str], Path] = {}
    for path in sorted(found.values(), key=lambda p: (len(p.name), str(p))):
        plainest.setdefault((path.parent, path.name.split(".fit")[0]), path)
    return sorted(plainest.values()), odd


def _entries(folder: Path, exclude: Path | None, visited: set[tuple[int, int]]) -> Iterator[os.DirEntry]:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    for entry in entries:
        yield entry
        path = Path(entry.path)
        if entry.name.startswith(".") or not _is_folder(entry) or entry.name.endswith(FITS_SUFFIXES):
            continue
        if is_workspace(path) or (exclude is not None and path.resolve() == exclude):
            continue
        yield from _entries(path, exclude, visited)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def scan_folder(
    folder: Path,
    *,
    exclude: Path | None = None,
    known: Mapping[str, FrameRecord] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ScanResult:
    """Learn what every FITS file of a folder is.

    Parameters
    ----------
    folder : Path
    exclude : Path or None
        A folder to pass over: the workspace.
    known : mapping or None
        Path to an earlier record; while size and time of a file stay, it is not read again.
    progress : callable
        Gets (done, total).
    """
    begin = time.monotonic()
    paths, records = find_fits_files(folder, exclude)
    known = known or {}
    read = 0
    with ThreadPoolExecutor(_THREADS) as threads:
        for done, (record, was_read) in enumerate(threads.map(lambda p: _record(p, known.get(str(p))), paths), 1):
            records.append(record)
            read += was_read
            progress(done, len(paths))
    records.sort(key=lambda record: record.path)
    return ScanResult(tuple(_without_copies(records)), time.monotonic() - begin, read)


def _without_copies(records: Sequence[FrameRecord]) -> Iterator[FrameRecord]:
    """Of copies of a frame only one can be used: those with the same data, tag and time, and packed ones.

    What is packed has other bytes: it is known by what its header says, and the plain frame goes before it.
    """
    seen: dict[tuple, FrameRecord] = {}
    exposures: dict[tuple, FrameRecord] = {}
    usable = [record for record in records if not record.problem]
    copies: dict[str, FrameRecord] = {}
    for record in sorted(usable, key=_is_packed):
        first = seen.setdefault((record.checksum, record.tag, record.mjd), record)
        if first is record and not record.is_product:
            other = exposures.setdefault((record.tag, *map(record.facts.get, _OF_ONE_EXPOSURE)), record)
            first = other if _is_packed(record) else record
        if first is not record:
            copies[record.path] = first
    for record in records:
        first = copies.get(record.path)
        yield replace(record, tag="", problem=f"the same frame as {first.name}") if first else record


def _is_packed(record: FrameRecord) -> bool:
    """Whether its checksum cannot be compared with that of the plain frame."""
    return not _is_plain(Path(record.path)) and not record.checksum.startswith(_DECLARED_SUM)


def _record(path: Path, earlier: FrameRecord | None) -> tuple[FrameRecord, bool]:
    try:
        status = path.stat()
        same = earlier is not None and (earlier.size, earlier.modified_ns) == (status.st_size, status.st_mtime_ns)
        if same and not earlier.problem:
            return earlier, False
        return _read_record(path, status), True
    except SoxsError as error:
        return unusable_frame(path, str(error)), True
    except OSError as error:
        return unusable_frame(path, f"cannot be read ({error.strerror or error})"), True
    # Whatever a header holds, one frame must not end the night.
    except Exception as error:  # noqa: BLE001
        return unusable_frame(path, f"header cannot be understood ({type(error).__name__}: {error})"), True


def _read_record(path: Path, status: os.stat_result) -> FrameRecord:
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument.classify import classify

    status = _settled(path, status)
    header = read_header(path)
    lacking = _lacking_bytes(path, header, status.st_size)
    if lacking > 0:
        return unusable_frame(
            path, f"truncated: {lacking} bytes of data are missing; get the file again", status.st_size,
            status.st_mtime_ns,
        )  # fmt: skip
    found = classify(header)
    if not found.tag:
        reason = found.reason.removeprefix("unusable: ")
        return unusable_frame(path, reason or "no tag", status.st_size, status.st_mtime_ns)
    if found.is_product and not _is_ours(header):
        return unusable_frame(path, "product of another pipeline, not used", status.st_size, status.st_mtime_ns)
    checksum = _checksum(path, header)
    return describe_frame(
        path, header, tag=found.tag, arm=found.arm, checksum=checksum, size=status.st_size,
        modified_ns=status.st_mtime_ns, warnings=found.warnings, is_product=found.is_product,
    )  # fmt: skip


def _settled(path: Path, status: os.stat_result) -> os.stat_result:
    """Wait, for a moment only, while a file still grows; one from the future has another clock and does not."""
    deadline = time.monotonic() + _FRESH_SECONDS
    while -_FRESH_SECONDS < time.time() - status.st_mtime < _SETTLE_SECONDS and time.monotonic() < deadline:
        if status.st_size % _BLOCK == 0 and status.st_size > 0:
            break
        time.sleep(0.2)
        status = path.stat()
    return status


def _data_bytes(header: Mapping[str, object]) -> int:
    dimensions = header.get("NAXIS")
    if not isinstance(dimensions, int) or not 0 <= dimensions <= _DIMENSIONS_MAX:
        return 0
    axes = [header.get(f"NAXIS{n}") for n in range(1, dimensions + 1)]
    if not axes or not all(isinstance(length, int) and length >= 0 for length in axes):
        return 0
    size = abs(int(header.get("BITPIX") or 0)) // 8
    for length in axes:
        size *= length
    return size


def _is_plain(path: Path) -> bool:
    return not path.name.endswith((".gz", ".Z", ".fz"))


def _lacking_bytes(path: Path, header: Mapping[str, object], size: int) -> int:
    """Bytes of data that a plain file lacks; what is compressed proves itself when it is read."""
    if not _is_plain(path):
        return 0
    with path.open("rb") as stream:
        if stream.read(2) in (b"\x1f\x8b", b"\x1f\x9d"):
            return 0
    return _header_bytes(header) + _data_bytes(header) - size


def _header_bytes(header: Mapping[str, object]) -> int:
    return -(-(len(header) + 1) * _CARD // _BLOCK) * _BLOCK


def _checksum(path: Path, header: Mapping[str, object]) -> str:
    """Of the data: the header's own when it has one (recipes verify it on reading), else of the bytes."""
    declared = str(header.get("DATASUM") or "").strip()
    if declared.isdigit() and int(declared) > 0 and path.suffix != ".fz":
        return f"{_DECLARED_SUM}{declared}"
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        if _is_plain(path):
            stream.seek(_header_bytes(header))
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_ours(header: Mapping[str, object]) -> bool:
    return str(header.get("ESO PRO REC1 PIPE ID") or "").startswith("soxs/") and "ESO QC STATUS" in header
