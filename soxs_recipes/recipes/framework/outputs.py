"""The products of one recipe call: collected by `process`, then written with header, QC and provenance."""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from soxs_recipes import __version__
from soxs_recipes.data.qc import QCDefinition, QCParameter
from soxs_recipes.errors import InputError
from soxs_recipes.eso.dfs import InputFrame, RecordedParameter, printable, product_header, record_index
from soxs_recipes.instrument.times import end_time, iso_from_mjd, observation_mjd
from soxs_recipes.recipes.framework.declarations import Declaration, Product, resolved_tag
from soxs_recipes.recipes.framework.inputs import InputFile, Inputs
from soxs_recipes.recipes.framework.spool import Spool

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["COMPLETE", "FAILED", "PARTIAL", "Outputs", "WrittenProduct", "file_name_part", "product_file_name"]

COMPLETE, PARTIAL, FAILED = "COMPLETE", "PARTIAL", "FAILED"
_OBJECT_LENGTH = 40
_DIGITS = 9  # that a measurement can have
_TIME_DIGITS = 14  # of a modified Julian date: some microseconds
_log = logging.getLogger(__name__)


def file_name_part(text: str) -> str:
    """Header text made safe for a file name: ASCII letters, digits, `+` and `-`, at most 40 characters.

    Accents are dropped, anything else becomes `-`; the result never begins or ends with `-` and may be empty.
    """
    plain = unicodedata.normalize("NFKD", str(text)).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9+]+", "-", plain)[:_OBJECT_LENGTH].strip("-")


def product_file_name(date: str, arm_name: str, short: str, object_name: str = "") -> str:
    """`20260101T012345_VIS_MASTER_BIAS[_object].fits`; the same input gives the same name."""
    moment = re.sub(r"[^0-9T]", "", str(date).strip().upper().split(".")[0])[:15] or "undated"
    parts = [moment, file_name_part(arm_name), re.sub(r"[^A-Z0-9_]", "", short), file_name_part(object_name)]
    return "_".join(part for part in parts if part) + ".fits"


@dataclass(slots=True)
class _Pending:
    """A product that waits to be written."""

    product: Product
    hdus: list
    qc: list[QCParameter]
    partial: list[str]
    object_name: str
    header: dict[str, object]
    reference: InputFile
    used: list[InputFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WrittenProduct:
    """A product on disk."""

    path: Path
    tag: str
    kind: str
    status: str
    reasons: tuple[str, ...]
    qc: tuple[QCParameter, ...]


class Outputs:
    """Where `process` puts its products; they are written when it has ended without error."""

    def __init__(self, inputs: Inputs, folder: Path):
        self._inputs = inputs
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be made ({error.strerror}); choose another output folder"
            ) from error
        self._pending: dict[str, _Pending] = {}
        self._spool = Spool(folder)
        self.subtracted: list[Path] = []  # raw frames in every product's provenance, but not in its exposure time

    def add(
        self,
        tag: str,
        hdus: Sequence,
        *,
        qc: Iterable[QCParameter] = (),
        partial: str | Sequence[str] | None = None,
        object_name: str | None = None,
        header: Mapping[str, object] | None = None,
        reference: Path | None = None,
        used: Iterable[Path] | None = None,
    ) -> Path:
        """Add a product.

        Parameters
        ----------
        tag : str
            Declared tag, short or full.
        hdus : sequence of HDU
            As the writers of `fits_files` give them; an empty primary is put in front where needed.
        qc : iterable of QCParameter
            Declared ones; undefined values are left out.
        partial : str, sequence of str or None
            Why this product is PARTIAL.
        object_name : str or None
            Put into the file's name (filtered).
        header : mapping or None
            Further keywords, value or (value, comment); they stand above what would be inherited.
        reference : Path or None
            Raw frame whose header is inherited; the first of those used by default.
        used : iterable of Path or None
            Raw frames that went in, when not all did.

        Returns
        -------
        Path
            Where the product will be.

        Raises
        ------
        KeyError
            Tag or QC parameter is not declared.
        ValueError
            Two products of one call would have one name.
        """
        product = self._inputs.declaration.product(tag)
        raws = {file.path: file for file in self._inputs.raw_files}
        chosen = [raws[Path(path)] for path in used] if used is not None else list(raws.values())
        source = raws[Path(reference)] if reference is not None else (chosen or self._inputs.raw_files)[0]
        date = str(source.header.get("DATE-OBS") or "") or iso_from_mjd(observation_mjd(source.header))
        stem = resolved_tag(product.tag.replace("_<ARM>", ""), "", self._inputs.kind)
        path = self._folder / product_file_name(date, self._inputs.arm.name, stem, object_name or "")
        if path.name in self._pending:
            raise ValueError(f"two products of one call are named {path.name}; give an object_name or a reference")
        reasons = [partial] if isinstance(partial, str) else list(partial or ())
        values = [self._declared(parameter) for parameter in qc]
        place, more = self._spool.put(hdus), dict(header or {})
        self._pending[path.name] = _Pending(
            product, place, values, reasons, object_name or "", more, source, chosen
        )
        return path

    def _declared(self, parameter: QCParameter) -> QCParameter:
        _definition(self._inputs.declaration, parameter)
        return parameter

    @property
    def folder(self) -> Path:
        """Where the products will be."""
        return self._folder

    @property
    def count(self) -> int:
        """Products so far."""
        return len(self._pending)

    def discard(self) -> None:
        """Forget what was not written."""
        self._pending.clear()
        self._spool.discard()

    def write(self, parameters: Sequence[RecordedParameter], cascade_key: str = "") -> list[WrittenProduct]:
        """Write all products; each file appears whole or not at all."""
        written: list[WrittenProduct] = []
        try:
            for name, pending in self._pending.items():
                written.append(self._written(name, pending, parameters, cascade_key))
        except BaseException:
            # A call gives all its products or none.
            for product in written:
                product.path.unlink(missing_ok=True)
            raise
        return written

    def _written(self, name: str, pending: _Pending, parameters, cascade_key: str) -> WrittenProduct:
        from soxs_recipes.fits_files import write_product

        reasons = [*self._inputs.partial_reasons, *pending.partial, *self._out_of_range(pending.qc)]
        reasons = list(dict.fromkeys(reasons))
        header = self._header(name, pending, reasons, parameters, cascade_key)
        path = write_product(self._folder / name, hdus=self._spool.get(pending.hdus), header=header)
        pending.hdus.clear()  # the pixels are on disk; let them go
        tag = resolved_tag(pending.product.tag, self._inputs.arm.name, self._inputs.kind)
        qc = tuple(parameter for parameter in pending.qc if parameter.is_defined)
        status = PARTIAL if reasons else COMPLETE
        return WrittenProduct(Path(path), tag, pending.product.kind, status, tuple(reasons), qc)

    def _out_of_range(self, qc: Iterable[QCParameter]) -> list[str]:
        reasons = []
        for parameter in qc:
            definition = _definition(self._inputs.declaration, parameter)
            limits = _acceptable(self._inputs, definition)
            if parameter.is_defined and limits is not None and not limits[0] <= parameter.value <= limits[1]:
                unit = f" {definition.unit}" if definition.unit else ""
                reasons.append(
                    f"{parameter.keyword.removeprefix('ESO ')} = {parameter.value:.6g}{unit} is outside "
                    f"{limits[0]:g} .. {limits[1]:g}"
                )
        return reasons

    def _header(self, name: str, pending: _Pending, reasons, parameters, cascade_key: str) -> Header:
        inputs = self._inputs
        used = {file.path for file in pending.used} | set(self.subtracted)
        raws = {file.path for file in inputs.raw_files}
        # The reference frame comes first, as the DFS rules take the header of the first.
        files = [file for file in inputs.used_files() if file.path not in raws or file.path in used]
        files.sort(key=lambda file: file.path != pending.reference.path)
        frames = [_input_frame(file) for file in files]
        header = product_header(
            frames,
            catg=resolved_tag(pending.product.tag, inputs.arm.name, inputs.kind),
            filename=name,
            recipe=inputs.declaration.name,
            pipe_id=f"soxs/{__version__}",
            parameters=parameters,
            applied=self._applied(pending, reasons, cascade_key),
        )
        for label, sentences in (("REASON", reasons), ("NOTE", inputs.notes)):
            for number, sentence in enumerate(sentences[:99], start=1):
                header[f"{label}{number}"] = printable(sentence)
        return header

    def _applied(self, pending: _Pending, reasons: Sequence[str], cascade_key: str) -> dict[str, tuple]:
        inputs, definitions = self._inputs, self._inputs.declaration
        record = f"ESO PRO REC{record_index(pending.reference.header)}"
        cards: dict[str, object] = dict(exposure_cards(inputs, pending.used or [pending.reference]))
        cards["ESO PRO SCIENCE"] = (
            inputs.kind == "SCI" and _is_science(pending.reference),
            "Scientific product if T",
        )
        cards["ESO PRO DATANCOM"] = (len(pending.used), "Number of combined frames")
        cards[f"{record} ALGO VERSION"] = (definitions.algorithm_version, "Raised when results change")
        if cascade_key:
            cards[f"{record} CALL KEY"] = (cascade_key, "Identifies inputs and parameters")
        cards["ESO QC STATUS"] = (PARTIAL if reasons else COMPLETE, "COMPLETE, or PARTIAL: see REASONn")
        for parameter in pending.qc:
            if parameter.is_defined:
                definition = _definition(definitions, parameter)
                unit = f"[{definition.unit}] " if definition.unit else ""
                digits = _TIME_DIGITS if definition.unit == "d" else _DIGITS
                cards[parameter.keyword] = (
                    _plain_number(parameter.value, digits),
                    f"{unit}{definition.sentence}",
                )
        cards.update(pending.header)
        return {key: value if isinstance(value, tuple) else (value, "") for key, value in cards.items()}


def _definition(declaration: Declaration, parameter: QCParameter) -> QCDefinition:
    for definition in declaration.qc:
        if definition.name == parameter.name:
            if parameter.order is not None and not definition.per_order:
                break
            return definition
    raise KeyError(f"{declaration.name} declares no QC parameter {parameter.name!r} (order {parameter.order})")


def _acceptable(inputs: Inputs, definition: QCDefinition) -> tuple[float, float] | None:
    """Range of a QC parameter: the arm's own, where its data give one, else the declaration's."""
    own = inputs.arm.defaults.get(f"{inputs.declaration.name}.qc.{definition.name}")
    limits = own if own is not None else definition.range_for(inputs.arm.name)
    return None if limits is None else (float(limits[0]), float(limits[1]))


def _plain_number(value, digits: int) -> bool | int | float:
    """A Python number of a numpy one, with the digits that a measurement can have."""
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _is_science(file: InputFile) -> bool:
    stated = file.header.get("ESO DPR CATG", "")
    return str(stated).strip().upper() == "SCIENCE" or file.header.get("ESO PRO SCIENCE") is True


def _input_frame(file: InputFile) -> InputFrame:
    group = "CALIB" if file.classification.is_product else "RAW"
    md5 = str(file.header.get("DATAMD5") or "")
    if not md5:
        from soxs_recipes.eso.signing import data_md5

        md5 = data_md5(file.path)
    return InputFrame(file.path.name, file.tag, group, file.header, md5)


def exposure_cards(inputs: Inputs, used: Sequence[InputFile]) -> dict[str, tuple]:
    """EXPTIME, MJD-OBS, MJD-END of what went in: the DFS rules drop them, later steps need them."""
    times = [inputs.keyword("EXPTIME", file.path) for file in used]
    times = [float(time) for time in times if isinstance(time, (int, float))]
    cards: dict[str, tuple] = {}
    if times:
        cards["EXPTIME"] = (sum(times) / len(times), "[s] Exposure time, mean of the frames")
        cards["TEXPTIME"] = (sum(times), "[s] Total exposure time")
    starts: list[float] = []
    ends: list[float] = []
    for file in used:
        start = observation_mjd(file.header)
        if math.isfinite(start):
            end = inputs.keyword("MJD_END", file.path)
            length = inputs.keyword("EXPTIME", file.path, 0.0)
            starts.append(start)
            stated = float(end) if isinstance(end, (int, float)) else math.nan
            ends.append(end_time(start, end=stated, exposure_time=_seconds(length)))
    if starts:
        cards["MJD-OBS"] = (min(starts), "[d] Start of the first exposure")
        cards["MJD-END"] = (max(ends), "[d] End of the last exposure")
    return cards


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
