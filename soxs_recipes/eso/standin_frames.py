"""Stand-in of `cpl.ui.Frame` and `cpl.ui.FrameSet`, the SOF grammar of PyCPL included."""

from __future__ import annotations

import enum
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from soxs_recipes.eso import standin_core as core
from soxs_recipes.eso.standin_parameters import dump_text

__all__ = ["Frame", "FrameSet"]


class _PlainEnum(enum.Enum):
    def __int__(self) -> int:
        return self.value


class FrameGroup(_PlainEnum):
    """Part that a frame plays."""

    NONE = 0
    RAW = 1
    CALIB = 2
    PRODUCT = 3


class FrameLevel(_PlainEnum):
    """How final a product is."""

    NONE = 0
    TEMPORARY = 1
    INTERMEDIATE = 2
    FINAL = 3


class FrameType(_PlainEnum):
    """What a frame's file holds."""

    NONE = 1
    IMAGE = 2
    MATRIX = 4
    TABLE = 8
    PAF = 16
    ANY = 32


def _typed(slot: str, kind: type) -> property:
    def read(self):
        return getattr(self, slot)

    def write(self, value):
        if not isinstance(value, kind):
            raise TypeError(f"expected {kind.__name__}, not {type(value).__name__}")
        setattr(self, slot, value)

    return property(read, write)


class Frame:
    """A file with its tag, group, level and type; the file must exist when the frame is made."""

    __slots__ = ("_file", "_group", "_level", "_tag", "_type")
    FrameGroup, FrameLevel, FrameType = FrameGroup, FrameLevel, FrameType

    def __init__(
        self,
        file: str | os.PathLike,
        tag: str = "",
        group: FrameGroup = FrameGroup.NONE,
        level: FrameLevel = FrameLevel.NONE,
        frameType: FrameType = FrameType.NONE,
    ):
        self.file, self.tag, self.group, self.level, self.type = file, tag, group, level, frameType
        if not Path(self.file).exists():
            raise core.FileIOError(f"File not found: {self.file}")

    @property
    def file(self) -> str:
        """File name as given."""
        return self._file

    @file.setter
    def file(self, name: str | os.PathLike):
        if not isinstance(name, (str, os.PathLike)):
            raise TypeError("file must be str or path")
        self._file = os.fspath(name)

    tag = _typed("_tag", str)
    group = _typed("_group", FrameGroup)
    level = _typed("_level", FrameLevel)
    type = _typed("_type", FrameType)

    def as_hdulist(self, **keywords):
        """The file, opened by astropy."""
        from astropy.io import fits

        return fits.open(self.file, **keywords)

    def as_ccddata(self, **keywords):
        """The file's image as `astropy.nddata.CCDData`."""
        from astropy.nddata import CCDData

        return CCDData.read(self.file, **keywords)

    def _fields(self) -> tuple:
        return self.file, self.tag, self.group, self.level, self.type

    def __eq__(self, other) -> bool:
        return isinstance(other, Frame) and self._fields() == other._fields()

    __hash__ = None

    def __reduce__(self):
        return _restored, self._fields()

    def __repr__(self) -> str:
        enums = ", ".join(f"cpl.ui.Frame.{value}" for value in self._fields()[2:])
        return f"cpl.ui.Frame({self.file!r}, {self.tag!r}, {enums})"

    def __str__(self) -> str:
        return f"(file={self.file}, tag={self.tag}, group={self.group}, level={self.level}, type={self.type})"

    def dump(self, filename: str = "", mode: str = "w", show: bool = True) -> str:
        """Text of the frame, shown and, with `filename`, written."""
        return dump_text(f"{self}\n", filename, mode, show)


def _restored(file, tag, group, level, frame_type) -> Frame:
    frame = Frame.__new__(Frame)  # an unpickled frame's file may be gone
    frame.file, frame.tag, frame.group, frame.level, frame.type = file, tag, group, level, frame_type
    return frame


def _expanded(word: str, folder: Path) -> str | None:
    """First expansion of a path as `wordexp` does it, None where that fails."""
    try:
        parts = shlex.split(word)
    except ValueError:
        return None
    if len(parts) != 1 or any(character in parts[0] for character in "|&;<>(){}`"):
        return None
    path = os.path.expanduser(os.path.expandvars(parts[0]))  # noqa: PTH111 - text, not a path yet
    if not path:
        return None
    full = folder / path
    if any(character in path for character in "*?["):
        pattern = full.relative_to(full.anchor)
        return next((str(match) for match in sorted(Path(full.anchor).glob(str(pattern)))), str(full))
    return str(full)


def _frames_of_sof(sof: Path) -> list[Frame]:
    try:
        lines = sof.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise core.FileNotFoundError(f"Cannot read set of frames {sof}: {error.strerror}") from error
    folder = sof.resolve().parent
    frames = []
    for line in lines:
        words = line.split("#", 1)[0].split()
        if not words or not line.split("#", 1)[0].strip(" \t\r,.;"):
            continue
        path = _expanded(words[0], folder)
        if path is None:
            continue
        group = {"RAW": FrameGroup.RAW, "CALIB": FrameGroup.CALIB}.get("".join(words[2:3]), FrameGroup.NONE)
        frames.append(Frame(path, words[1] if len(words) > 1 else "", group))
    return frames


class FrameSet:
    """A sequence of frames: empty, from a SOF file, or from frames."""

    __slots__ = ("_frames",)

    def __init__(self, source: str | os.PathLike | Iterable[Frame] = ()):
        self._frames = []
        if isinstance(source, (str, os.PathLike)):
            self._frames = _frames_of_sof(Path(source))
            return
        for frame in source:
            self.append(frame)

    def append(self, frame: Frame) -> None:
        """Add a frame at the end."""
        if not isinstance(frame, Frame):
            raise TypeError(f"expected cpl.ui.Frame, not {type(frame).__name__}")
        self._frames.append(frame)

    def __getitem__(self, index: int) -> Frame:
        if not isinstance(index, int):
            raise TypeError("a frame is found by position")
        return self._frames[index]

    def __len__(self) -> int:
        return len(self._frames)

    def __eq__(self, other) -> bool:
        if not isinstance(other, FrameSet):
            return NotImplemented
        return self._frames == other._frames

    __hash__ = None

    def __reduce__(self):
        return FrameSet, (list(self._frames),)

    def __repr__(self) -> str:
        lines = [repr(frame) for frame in self._frames]
        if len(lines) > 15:
            lines = [*lines[:3], "...", *lines[-3:]]
        return "\n".join(lines)

    def dump(self, filename: str = "", mode: str = "w", show: bool = True) -> str:
        """Text of all frames, shown and, with `filename`, written."""
        return dump_text("".join(f"{frame}\n" for frame in self._frames), filename, mode, show)

    def sign_products(self, compute_md5: bool = True, compute_checksum: bool = True) -> None:
        """Write DATAMD5 and checksums into the files of group PRODUCT."""
        from soxs_recipes.eso.signing import sign_product

        for frame in self._frames:
            if frame.group is FrameGroup.PRODUCT:
                sign_product(Path(frame.file), md5=compute_md5, checksum=compute_checksum)

    def update_product_header(self) -> None:
        """Write PIPEFILE into the files of group PRODUCT."""
        from soxs_recipes.eso.signing import set_pipefile

        for frame in self._frames:
            if frame.group is FrameGroup.PRODUCT:
                set_pipefile(Path(frame.file))
