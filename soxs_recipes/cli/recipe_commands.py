"""One command a recipe, made from its declaration: inputs in any form, a parameter an option."""

from __future__ import annotations

import hashlib
import json
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import click

from soxs_recipes.cli.companions import with_companions
from soxs_recipes.cli.options import (
    emit_json,
    interruptible,
    json_option,
    plots_option,
    settings_option,
    talk_options,
)
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.declarations import Declaration, Parameter, resolved_tag

__all__ = ["gather_frames", "recipe_command", "recipe_for_sof"]

_SOF_SUFFIXES = (".sof", ".txt", ".ascii")


class RecipeCommand(click.Command):
    """A command whose help goes on with the inputs, products and QC of its recipe."""

    declaration: Declaration

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Inputs, calibrations, products, QC."""
        from soxs_recipes.recipes.man import description_text

        text = description_text(self.declaration)
        wanted = [s for s in text.split("\n\n") if s.split("\n", 1)[0] in _SECTIONS]
        formatter.write("\n" + "\n\n".join(wanted) + "\n")


_SECTIONS = ("INPUTS", "CALIBRATIONS", "PRODUCTS", "QC PARAMETERS")


@cache
def recipe_command(name: str) -> click.Command:
    """The command of a recipe."""
    from soxs_recipes.recipes.registry import recipe_entry

    declaration = recipe_entry(name).load().declaration

    def run(inputs: tuple[Path, ...], **options) -> int:
        return _run(declaration, inputs, **options)

    run.__doc__ = (
        f"{declaration.synopsis}\n\nINPUTS: SOF files, folders or frames; headers tell what each frame is."
    )
    parameters = {_option_name(p): p for p in declaration.parameters}
    command = click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))(run)
    for parameter in reversed(declaration.parameters):
        command = _parameter_option(parameter)(command)
    for option in (json_option, plots_option, settings_option, *_OWN_OPTIONS):
        command = option(command)
    command = talk_options(_with_parameters(command, parameters))
    made = click.command(declaration.name.removeprefix("soxs_"), cls=RecipeCommand)(command)
    made.declaration = declaration
    return made


_OWN_OPTIONS = (
    click.option("--poly", metavar="DEGREES", help="Degrees of the polynomial fits, such as 3355 or 3,3,5,5."),
    click.option("-x", "--overwrite", is_flag=True, help="Run although the products are there."),
    click.option("-o", "--output", type=click.Path(path_type=Path), default=".", show_default=True,
                 help="Folder of the products."),
)  # fmt: skip


def _with_parameters(command, parameters: Mapping[str, Parameter]):
    """Gather the options that are parameters into one mapping."""
    import functools

    @functools.wraps(command)
    def gathered(*args, **options):
        given = {p.name: options.pop(key) for key, p in parameters.items()}
        given = {name: value for name, value in given.items() if value is not None}
        return command(*args, given=given, **options)

    return gathered


def _option_name(parameter: Parameter) -> str:
    return "p_" + parameter.name.replace("-", "_")


def _parameter_option(parameter: Parameter):
    from soxs_recipes.recipes.cpl_terms import help_text
    from soxs_recipes.recipes.man import shown

    default = "auto" if parameter.is_auto else shown(parameter.default)
    metavar = {bool: "BOOL", int: "INT", float: "FLOAT", str: "TEXT"}[parameter.type]
    return click.option(
        f"--{parameter.name}",
        _option_name(parameter),
        metavar=metavar,
        help=f"{help_text(parameter)}  [default: {default}]",
    )


# -- inputs -------------------------------------------------------------------------------------------------
def gather_frames(inputs: Iterable[Path], declaration: Declaration | None = None) -> list[tuple[str, str]]:
    """(path, tag) of every frame that SOF files, folders and frames name; a frame named twice counts once.

    Of a folder only the frames that the declaration speaks of are taken. InputError names what is not there.
    """
    from soxs_recipes.cascade.scan import FITS_SUFFIXES, find_fits_files
    from soxs_recipes.eso.sof import read_sof

    frames: dict[str, str] = {}
    for path in inputs:
        if path.is_dir():
            found, _ = find_fits_files(path)
            if not found:
                raise InputError(f"{path}: holds no FITS files")
            for one in found if declaration is None else _of_use(found, declaration):
                frames.setdefault(str(one.absolute()), "")
        elif not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        elif path.name.endswith(FITS_SUFFIXES) and path.suffix not in _SOF_SUFFIXES:
            frames.setdefault(str(path.absolute()), "")
        else:
            for entry in read_sof(path):
                if entry.group != "PRODUCT":
                    frames[str(entry.path)] = entry.tag
    return list(frames.items())


def _of_use(paths: Iterable[Path], declaration: Declaration) -> list[Path]:
    """Files that a recipe knows the tag of; those that cannot be read stay, so that the recipe names them."""
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument.classify import classify

    chosen = []
    for path in paths:
        try:
            found = classify(read_header(path))
        except SoxsError:
            chosen.append(path)
            continue
        known = {
            resolved_tag(entry.tag, found.arm, kind)
            for entry in (*declaration.raws, *declaration.calibrations)
            for kind in ("SCI", "FLUX", "TELL")
        }
        if found.tag in known:
            chosen.append(path)
    return chosen


def recipe_for_sof(sof: Path) -> str:
    """The recipe whose main input the frames of a SOF are; InputError when there is none or more than one."""
    from soxs_recipes.cascade.night import recipe_declarations
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument import load_instrument
    from soxs_recipes.instrument.classify import classify

    tags = set()
    for path, tag in gather_frames([sof]):
        tags.add(tag or (classify(read_header(path)).tag if Path(path).is_file() else ""))
    arms = [arm.name for arm in load_instrument().arms]
    fitting = [
        name
        for name, declaration in recipe_declarations().items()
        if tags
        & {
            resolved_tag(raw.tag, arm, kind)
            for raw in declaration.raws
            for arm in arms
            for kind in ("SCI", "FLUX")
        }
    ]
    if len(fitting) != 1:
        what = "more than one recipe is" if fitting else "no recipe is"
        names = f": {', '.join(fitting)}" if fitting else ""
        raise InputError(f"{sof}: {what} for its frames ({', '.join(sorted(tags)) or 'none'}){names}")
    return fitting[0]


# -- running ------------------------------------------------------------------------------------------------
def _run(
    declaration: Declaration,
    inputs: tuple[Path, ...],
    *,
    output: Path,
    settings_file: Path | None,
    overwrite: bool,
    poly: str | None,
    plots: bool,
    as_json: bool,
    quiet: bool,
    given: Mapping[str, object],
) -> int:
    from soxs_recipes.cascade.worker import call_recipe

    frames, added = with_companions(declaration, gather_frames(inputs, declaration))
    if added and not quiet and not as_json:
        click.echo(f"found with it: {', '.join(added)}", err=True)
    if not frames:
        names = ", ".join(raw.tag for raw in declaration.raws)
        raise InputError(f"{', '.join(map(str, inputs))}: none of {names} among the frames")
    settings = _settings(declaration, settings_file, poly, given, frames)
    output = output.expanduser()
    key = _call_key(declaration, frames, settings)
    present = [] if overwrite else _present(output, key)
    if present:
        _tell_present(declaration, present, as_json=as_json, quiet=quiet)
        return 0
    folder = _made(output)
    log = folder / "logs" / f"{declaration.name}.log"
    with interruptible(), tempfile.TemporaryDirectory(prefix=".soxs-", dir=folder) as scratch:
        answer = call_recipe(
            {"recipe": declaration.name, "frames": frames, "settings": settings, "folder": scratch, "key": key,
             "notes": [], "partial": [], "log": str(log)}
        )  # fmt: skip
        if answer["status"] != "FAILED":
            _move_products(answer, Path(scratch), folder, overwrite=overwrite)
    answer["command"] = _command_line(declaration, inputs, output, settings_file, given)
    answer["plots"] = _plots(answer, folder) if plots and answer["status"] != "FAILED" else []
    _tell(declaration, answer, folder, log, as_json=as_json, quiet=quiet)
    return _exit_code(answer)


def _settings(
    declaration: Declaration, path: Path | None, poly: str | None, given: Mapping[str, object], frames: Sequence
) -> dict[str, object]:
    """Settings file, then --poly, then single options: the last wins. All are checked before any frame is read."""
    from soxs_recipes.recipes.settings import read_settings

    values: dict[str, object] = {}
    if path is not None:
        values |= read_settings(path).of(declaration.name, _arm_of(frames))
    if poly:
        values |= degrees_from(declaration, poly)
    for name, value in given.items():
        values[name] = declaration.parameter(name).checked_or_auto(value)
    return values


def _arm_of(frames: Sequence[tuple[str, str]]) -> str:
    """Arm of the first frame that tells it; the recipe itself checks that all agree."""
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_header
    from soxs_recipes.instrument.classify import classify

    for path, _ in frames:
        try:
            arm = classify(read_header(path)).arm
        except SoxsError:
            continue
        if arm:
            return arm
    return ""


def degrees_from(declaration: Declaration, poly: str) -> dict[str, str]:
    """What --poly means: one digit a degree, in the order in which the recipe declares its degrees."""
    names = [p for p in declaration.parameters if p.name.endswith(("-deg", "-degree", "-degrees"))]
    if not names:
        raise InputError(f"{declaration.name} fits no polynomial whose degree can be set with --poly")
    digits = poly.split(",") if "," in poly else list(poly)
    if not all(digit.strip().isdigit() for digit in digits):
        raise InputError(f"--poly {poly}: write degrees as digits, such as 3355 or 3,3,5,5")
    each, rest = divmod(len(digits), len(names))
    if rest or each not in (1, 2):
        wanted = ", ".join(p.name for p in names)
        raise InputError(f"--poly {poly}: give one or two degrees for each of {wanted}")
    parts = [digits[each * i : each * (i + 1)] for i in range(len(names))]
    # Where one number bounds both axes the larger of the two is meant.
    return {
        p.name: p.checked_or_auto(max(part, key=int) if p.type is int else ",".join(part))
        for p, part in zip(names, parts, strict=True)
    }


def _call_key(declaration: Declaration, frames: Sequence[tuple[str, str]], settings: Mapping[str, object]) -> str:
    """Sixteen characters of what goes in, sixteen of how: the same call gives the same key."""
    files = []
    for path, tag in frames:
        status = Path(path).stat() if Path(path).is_file() else None
        files.append([path, tag, status.st_size, status.st_mtime_ns] if status else [path, tag])
    how = [declaration.name, declaration.algorithm_version, sorted((k, str(v)) for k, v in settings.items())]
    parts = (hashlib.sha256(json.dumps(part).encode()).hexdigest()[:16] for part in (sorted(files), how))
    return "".join(parts)


def _present(output: Path, key: str) -> list[Path]:
    """Products of this very call in the output folder.

    InputError when there are some of the same frames, made in another way.
    """
    keys = {path: _key_of(path) for path in sorted(output.glob("*.fits"))} if output.is_dir() else {}
    same = [path for path, theirs in keys.items() if theirs == key]
    other = [path for path, theirs in keys.items() if theirs and theirs[:16] == key[:16]]
    if other and not same:
        raise InputError(f"{other[0]}: made of the same frames with other parameters; -x replaces it")
    return same


def _key_of(path: Path) -> str:
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_header

    try:
        header = read_header(path)
    except SoxsError:
        return ""
    return next((str(value) for name, value in header.items() if name.endswith(" CALL KEY")), "")


def _tell_present(declaration: Declaration, present: Sequence[Path], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        products = [str(path) for path in present]
        emit_json({"schema": 1, "recipe": declaration.name, "status": "PRESENT", "products": products})
    elif not quiet:
        click.echo(f"there already: {present[0]}; -x makes it again")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be written ({error.strerror}); choose another place with -o"
        ) from error
    return folder


def _move_products(answer: dict[str, object], scratch: Path, folder: Path, *, overwrite: bool) -> None:
    names = [*(product["name"] for product in answer["products"]), *answer["texts"]]
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise InputError(f"{folder / there[0]}: is there already, of other frames; -x replaces it")
    for name in names:
        (scratch / name).replace(folder / name)


def _plots(answer: dict[str, object], folder: Path) -> list[str]:
    from soxs_recipes.cascade.worker import draw_plots

    products = [str(folder / product["name"]) for product in answer["products"]]
    try:
        return draw_plots({"products": products, "folder": str(folder / "plots")})["plots"]
    # Plots are a service: what goes wrong with them is told and fails nothing.
    except Exception as error:  # noqa: BLE001
        click.echo(f"no plots: {type(error).__name__}: {error}", err=True)
        return []


def _command_line(
    declaration: Declaration, inputs: Iterable[Path], output: Path, settings_file: Path | None, given: Mapping
) -> str:
    words = ["soxs", declaration.name.removeprefix("soxs_"), *(str(path.absolute()) for path in inputs)]
    words += ["-o", str(output.absolute()), "-x"]
    if settings_file is not None:
        words += ["-s", str(settings_file.absolute())]
    words += [f"--{name}={value}" for name, value in given.items()]
    return shlex.join(words)


def _tell(
    declaration: Declaration, answer: Mapping[str, object], folder: Path, log: Path, *, as_json: bool, quiet: bool
) -> None:
    if as_json:
        emit_json({"schema": 1, "recipe": declaration.name, "folder": str(folder), "log": str(log), **answer})
        return
    if answer["status"] == "FAILED" or quiet:
        return
    click.echo(f"{declaration.name}: {answer['status']} in {answer['seconds']:.1f} s")
    for reason in answer["reasons"]:
        click.echo(f"  partial: {reason}")
    for note in answer["notes"]:
        click.echo(f"  note: {note}")
    for product in answer["products"]:
        click.echo(f"  {product['tag']:28s} {folder / product['name']}")
        for keyword, value in product["qc"].items():
            if " ORD" not in keyword:
                click.echo(f"    {keyword.removeprefix('ESO '):26s} {value:.6g}")
    for name in answer["texts"]:
        click.echo(f"  {'text':28s} {folder / name}")
    if answer["plots"]:
        click.echo(f"  {'plots':28s} {Path(answer['plots'][0]).parent}")
    click.echo(f"again: {answer['command']}")


def _exit_code(answer: Mapping[str, object]) -> int:
    """The recipe's own error, said in one line, becomes the exit code."""
    if answer["status"] != "FAILED":
        return 0
    import soxs_recipes.errors as errors

    kind = getattr(errors, str(answer["error_class"]), errors.SoxsError)
    click.echo(f"soxs: error: {answer['error']}", err=True)
    return kind.exit_code
