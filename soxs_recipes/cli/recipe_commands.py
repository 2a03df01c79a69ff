"""One command a recipe, made from its declaration: inputs in any form, a parameter an option."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from soxs_recipes.cli.companions import with_companions
from soxs_recipes.cli.info_commands import show_manual
from soxs_recipes.cli.options import (
    emit_json,
    interruptible,
    json_option,
    plots_option,
    set_up_log,
    settings_option,
    talk_options,
)
from soxs_recipes.cli.recipe_inputs import gather_frames
from soxs_recipes.cli.runner_options import (
    LEVELS,
    RunnerOptions,
    deliver,
    runner_options,
    show_parameters,
    with_values,
    write_config,
)
from soxs_recipes.compiled import FIRST_RUN, is_machine_code_kept
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.declarations import Declaration, Parameter
from soxs_recipes.recipes.framework.inputs import arm_of_frames

if TYPE_CHECKING:
    from soxs_recipes.recipes.framework.settings import RecipeConfig

__all__ = ["plots_of", "recipe_command", "recipe_settings"]


class RecipeCommand(click.Command):
    """A command whose help goes on with the inputs, products and QC of its recipe."""

    declaration: Declaration

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """As click does; a switch may stand alone or have a value, as with EsoRex."""
        switches = [f"--{entry.name}" for entry in self.declaration.parameters if entry.type is bool]
        return super().parse_args(context, with_values(args, switches))

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Options in groups: the recipe's parameters, the run, files as EsoRex has them, the rest."""
        groups: dict[str, list] = {title: [] for title in ("Parameters", *_GROUPS, "Messages")}
        for option in self.get_params(context):
            title = next((title for title, names in _GROUPS.items() if option.name in names), "Messages")
            record = option.get_help_record(context) if isinstance(option, click.Option) else None
            if record is not None:
                groups["Parameters" if option.name.startswith(_PREFIX) else title].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Inputs, calibrations, products, QC."""
        from soxs_recipes.recipes.framework.man import description_text

        text = description_text(self.declaration)
        wanted = [s for s in text.split("\n\n") if s.split("\n", 1)[0] in _SECTIONS]
        formatter.write("\n" + "\n\n".join(wanted) + "\n")


_PREFIX = "p_"  # of options that are parameters
_GROUPS = {
    "Run": ("output", "overwrite", "settings_file", "poly", "plots"),
    "Files and configuration, as EsoRex has them": tuple(field.name for field in fields(RunnerOptions)),
}
_SECTIONS = ("INPUTS", "CALIBRATIONS", "PRODUCTS", "QC PARAMETERS")


@cache
def recipe_command(name: str) -> click.Command:
    """The command of a recipe."""
    from soxs_recipes.recipes.framework.registry import recipe_entry

    declaration = recipe_entry(name).load().declaration

    def run(inputs: tuple[Path, ...], **options) -> int:
        return _run(declaration, inputs, **options)

    word = declaration.name.removeprefix("soxs_")
    run.__doc__ = (
        f"{declaration.synopsis}\n\nINPUTS: SOF files, folders or frames; headers tell what each frame is.\n\n"
        f"\b\nsoxs {word} frames.sof -o out -s soxs.yaml\nsoxs man {word}\n"
    )
    parameters = {_option_name(p): p for p in declaration.parameters}
    # Not required: some options only show or write something.
    command = click.argument("inputs", nargs=-1, type=click.Path(path_type=Path))(run)
    for parameter in reversed(declaration.parameters):
        command = _parameter_option(parameter)(command)
    for option in (json_option, plots_option, runner_options, settings_option, *_OWN_OPTIONS):
        command = option(command)
    command = talk_options(_with_parameters(command, parameters))
    made = click.command(word, cls=RecipeCommand)(command)
    made.declaration = declaration
    return made


_OWN_OPTIONS = (
    click.option("--poly", metavar="DEGREES", help="Degrees of the polynomial fits, such as 3355 or 3,3,5,5."),
    click.option("-x", "--overwrite", is_flag=True, help="Run although the products are there."),
    click.option("-o", "--output", "--output-dir", "output", type=click.Path(path_type=Path), default=".",
                 show_default=True, envvar="SOXS_OUTPUT_DIR", show_envvar=True, help="Folder of the products."),
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
    return _PREFIX + parameter.name.replace("-", "_")


def _parameter_option(parameter: Parameter):
    from soxs_recipes.recipes.framework.cpl_terms import help_text
    from soxs_recipes.recipes.framework.man import shown

    default = "auto" if parameter.is_auto else shown(parameter.default)
    metavar = {bool: "BOOL", int: "INT", float: "FLOAT", str: "TEXT"}[parameter.type]
    return click.option(
        f"--{parameter.name}",
        _option_name(parameter),
        metavar=metavar,
        help=f"{help_text(parameter)}  [default: {default}]",
    )


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
    runner: RunnerOptions,
) -> int:
    if runner.man_page:
        show_manual(declaration, as_json=as_json)
        return 0
    if runner.msg_level is not None:
        set_up_log(LEVELS[runner.msg_level])
        quiet = quiet or LEVELS[runner.msg_level] > logging.WARNING
    frames, added = with_companions(declaration, gather_frames(inputs, declaration))
    config = _read_config(declaration, runner)
    settings = recipe_settings(declaration, settings_file, config.values, poly, given, frames)
    if _only_shown_or_written(declaration, runner, settings, as_json=as_json, quiet=quiet):
        return 0
    if not inputs:
        raise click.UsageError("Missing argument 'INPUTS...': SOF files, folders or frames.")
    if added and not quiet and not as_json:
        click.echo(f"found with it: {', '.join(added)}", err=True)
    if not frames:
        names = ", ".join(raw.tag for raw in declaration.raws)
        raise InputError(f"{', '.join(map(str, inputs))}: none of {names} among the frames")
    runner.link_folder()  # what cannot be is told before the work
    output = output.expanduser()
    key = _call_key(declaration, frames, settings)
    present = [] if overwrite else _present(output, key)
    if present:
        deliver(runner, [(path, _tag_of(path)) for path in present])
        _tell_present(declaration, present, as_json=as_json, quiet=quiet)
        return 0
    folder = _made(output)
    log = runner.log_path(declaration, folder)
    request = {"recipe": declaration.name, "frames": frames, "settings": settings, "key": key, "notes": [],
               "partial": [], "log": log, "log_level": LEVELS[runner.log_level or "info"]}  # fmt: skip
    if not quiet and not as_json and not is_machine_code_kept():
        click.echo(FIRST_RUN, err=True)
    answer = _answer(request, folder, overwrite=overwrite)
    words = _command_line(declaration, inputs, output, settings_file, runner, given)
    answer["command"] = words
    is_done = answer["status"] != "FAILED"
    names = [product["name"] for product in answer["products"]] if is_done else []
    answer["plots"] = plots_of([folder / name for name in names], folder) if _wants_plots(config, plots) else []
    if is_done:
        products = [(folder / product["name"], product["tag"]) for product in answer["products"]]
        answer["delivered"] = [str(path) for path in deliver(runner, products)]
    _tell(declaration, answer, folder, log, as_json=as_json, quiet=quiet, times=runner.time)
    return _exit_code(answer)


def _answer(request: Mapping[str, object], folder: Path, *, overwrite: bool) -> dict[str, object]:
    """Run the recipe in a folder of its own, from which finished products are moved."""
    from soxs_recipes.cascade.worker import call_recipe, peak_megabytes

    began = time.process_time()
    with interruptible(), tempfile.TemporaryDirectory(prefix=".soxs-", dir=folder) as scratch:
        answer = call_recipe({**request, "folder": scratch})
        if answer["status"] != "FAILED":
            _move_products(answer, Path(scratch), folder, overwrite=overwrite)
    return {**answer, "cpu_seconds": time.process_time() - began, "peak_mb": peak_megabytes()}


def _read_config(declaration: Declaration, runner: RunnerOptions) -> RecipeConfig:
    from soxs_recipes.recipes.framework.settings import RecipeConfig, read_recipe_config

    if runner.recipe_config is None:
        return RecipeConfig()
    return read_recipe_config(declaration, runner.recipe_config.expanduser())


def _only_shown_or_written(
    declaration: Declaration, runner: RunnerOptions, settings: Mapping[str, object], *, as_json: bool, quiet: bool
) -> bool:
    """Show or write the parameters where that is asked for; whether it was."""
    path = runner.config_to_write(declaration)
    if path is not None:
        write_config(declaration, path, settings)
        if as_json:
            emit_json({"schema": 1, "recipe": declaration.name, "config": str(path)})
        elif not quiet:
            click.echo(f"wrote {path}")
    elif runner.params:
        show_parameters(declaration, settings, as_json=as_json)
    return path is not None or runner.params


def _wants_plots(config: RecipeConfig, plots: bool) -> bool:
    """What the command line says, else what the configuration file says."""
    source = click.get_current_context().get_parameter_source("plots")
    is_default = source is click.core.ParameterSource.DEFAULT
    return config.plots if is_default and config.plots is not None else plots


def recipe_settings(
    declaration: Declaration,
    path: Path | None,
    config: Mapping[str, object],
    poly: str | None,
    given: Mapping[str, object],
    frames: Sequence,
) -> dict[str, object]:
    """Settings file, configuration file, --poly, single options: the last wins.

    All are checked before any frame is read.
    """
    from soxs_recipes.recipes.framework.settings import read_settings

    values: dict[str, object] = {}
    if path is not None:
        values |= read_settings(path).of(declaration.name, arm_of_frames(frames))
    values |= config
    if poly:
        values |= degrees_from(declaration, poly)
    for name, value in given.items():
        values[name] = declaration.parameter(name).checked_or_auto(value)
    return values


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
        raise InputError(
            f"{other[0]}: made of the same frames by another recipe or with other parameters; -x replaces it"
        )
    return same


def _key_of(path: Path) -> str:
    """Key of the call that made a product: that of the last record, after those of what it was made from."""
    from soxs_recipes.errors import SoxsError
    from soxs_recipes.fits_files import read_header

    try:
        header = read_header(path)
    except SoxsError:
        return ""
    keys = {name: str(value) for name, value in header.items() if name.endswith(" CALL KEY")}
    return keys[max(keys, key=lambda name: (len(name), name))] if keys else ""


def _tag_of(path: Path) -> str:
    from soxs_recipes.fits_files import read_header

    return str(read_header(path).get("ESO PRO CATG", ""))


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


def plots_of(products: Sequence[Path], folder: Path) -> list[str]:
    """Draw the plots of products into `plots/` of a folder; files written."""
    from soxs_recipes.cascade.worker import draw_plots

    try:
        return draw_plots({"products": list(map(str, products)), "folder": str(folder / "plots")})["plots"]
    # Plots are a service: what goes wrong with them is told and fails nothing.
    except Exception as error:  # noqa: BLE001
        click.echo(f"no plots: {type(error).__name__}: {error}", err=True)
        return []


def _command_line(
    declaration: Declaration,
    inputs: Iterable[Path],
    output: Path,
    settings_file: Path | None,
    runner: RunnerOptions,
    given: Mapping,
) -> str:
    words = ["soxs", declaration.name.removeprefix("soxs_"), *(str(path.absolute()) for path in inputs)]
    words += ["-o", str(output.absolute()), "-x"]
    if settings_file is not None:
        words += ["-s", str(settings_file.absolute())]
    if runner.recipe_config is not None:
        words += [f"--recipe-config={runner.recipe_config.absolute()}"]
    words += [f"--{name}={value}" for name, value in given.items()]
    return shlex.join(words)


def _tell(
    declaration: Declaration,
    answer: Mapping[str, object],
    folder: Path,
    log: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    times: bool,
) -> None:
    if as_json:
        emit_json({"schema": 1, "recipe": declaration.name, "folder": str(folder), "log": log, **answer})
        return
    if answer["status"] == "FAILED" or quiet:
        return
    click.echo(f"{declaration.name}: {answer['status']} in {answer['seconds']:.1f} s")
    if times:
        used = f"{answer['cpu_seconds']:.1f} s of processor time, {answer['peak_mb']:.0f} MB at most"
        click.echo(f"  time: {answer['seconds']:.1f} s, {used}")
    for reason in answer["reasons"]:
        click.echo(f"  partial: {reason}")
    for note in answer["notes"]:
        click.echo(f"  note: {note}")
    for product in answer["products"]:
        _tell_line(product["tag"], folder / product["name"])
    for name in answer["texts"]:
        _tell_line("text", folder / name)
    if answer["plots"]:
        _tell_line("plots", Path(answer["plots"][0]).parent)
    for path in answer["delivered"]:
        _tell_line("link" if Path(path).is_symlink() else "list of products", path)
    _tell_quality(declaration, answer["products"])
    click.echo(f"again: {answer['command']}")


def _tell_quality(declaration: Declaration, products: Sequence[Mapping]) -> None:
    """QC values that are not of single orders: once, though each product has them, and again where they differ."""
    definitions, told = {entry.name: entry for entry in declaration.qc}, {}
    for product in products:
        for keyword, value in product["qc"].items():
            if " ORD" in keyword or told.get(keyword) == value:
                continue
            name = keyword.removeprefix("ESO QC ")
            entry = definitions.get(name) or definitions.get(name.rpartition(" AMP")[0])
            text = f"    QC {name:23s} {value:.6g} {entry.unit if entry else ''}".rstrip()
            low, high = (entry and entry.range_for(product["tag"].rpartition("_")[2])) or (value, value)
            odd = "" if low <= value <= high else f"  (acceptable: {low:g} to {high:g})"
            click.echo(text + odd + (f"  ({product['tag']})" if keyword in told else ""))
            told[keyword] = value


def _tell_line(what: str, where: Path | str) -> None:
    click.echo(f"  {what:28s} {where}")


def _exit_code(answer: Mapping[str, object]) -> int:
    """The recipe's own error, said in one line, becomes the exit code."""
    if answer["status"] != "FAILED":
        return 0
    import soxs_recipes.errors as errors

    kind = getattr(errors, str(answer["error_class"]), errors.SoxsError)
    click.echo(f"soxs: error: {answer['error']}", err=True)
    return kind.exit_code
