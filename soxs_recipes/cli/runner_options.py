"""What a recipe's command does as EsoRex does: configuration files, place of the log, list of products, links."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import click

from soxs_recipes.cli.options import emit_json
from soxs_recipes.errors import InputError
from soxs_recipes.recipes.framework.declarations import Declaration

__all__ = [
    "LEVELS",
    "RunnerOptions",
    "deliver",
    "runner_options",
    "show_parameters",
    "with_values",
    "write_config",
]

_FLAGS = ("--create-config", "--suppress-link", "--params", "--man-page", "--time")
_WORDS = ("true", "false")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """Values of these options.

    Attributes
    ----------
    recipe_config : Path or None
        Configuration file to be read.
    create_config : Path or None
        Configuration file to be written.
    products_sof : Path or None
    link_dir : Path or None
    suppress_link : bool
    log_dir : Path or None
    log_file : Path or None
    log_level, msg_level : str or None
        A key of LEVELS.
    params, man_page, time : bool
    """

    recipe_config: Path | None
    create_config: str | None
    products_sof: Path | None
    link_dir: Path | None
    suppress_link: bool | None
    log_dir: Path | None
    log_file: Path | None
    log_level: str | None
    msg_level: str | None
    params: bool
    man_page: bool
    time: bool

    def config_to_write(self, declaration: Declaration) -> Path | None:
        """Where to write the configuration; None when it is not asked for."""
        text = (self.create_config or "false").strip()
        if text.lower() in ("false", "true"):
            return Path(f"{declaration.name}.rc") if text.lower() == "true" else None
        return Path(text).expanduser()

    def log_path(self, declaration: Declaration, folder: Path) -> Path | None:
        """File of the log; `folder` is that of the products; None when there shall be none."""
        if self.log_level == "off":
            return None
        place = self.log_dir.expanduser() if self.log_dir is not None else folder / "logs"
        return place / (self.log_file or f"{declaration.name}.log")

    def link_folder(self) -> Path | None:
        """Where products are linked; None where not.

        EsoRex suppresses links unless it is told not to; here naming a folder tells so.
        """
        if self.link_dir is None and self.suppress_link is False:
            raise InputError("--suppress-link FALSE: name the folder of the links with --link-dir")
        return None if self.suppress_link or self.link_dir is None else self.link_dir.expanduser().absolute()


def _file(name: str, metavar: str, text: str, variable: str = ""):
    return click.option(
        name,
        type=click.Path(path_type=Path),
        metavar=metavar,
        envvar=variable or None,
        show_envvar=True,
        help=text,
    )


def _level(name: str, text: str, variable: str):
    choice = click.Choice(list(LEVELS), case_sensitive=False)
    return click.option(name, type=choice, metavar="LEVEL", envvar=variable, show_envvar=True, help=text)


_OPTIONS = (
    _file("--recipe-config", "FILE", "Read parameters from a .rc file; other options win.", "SOXS_RECIPE_CONFIG"),
    click.option("--create-config", metavar="[=FILE]",
                 help="Write the parameters to a .rc file [RECIPE.rc], JSON when it is named .json, and end; an "
                 "old one becomes .bak."),
    click.option("--params", type=bool, default=False, metavar="", help="Show the parameters and end."),
    click.option("--man-page", type=bool, default=False, metavar="", help="Show the manual and end."),
    _file("--products-sof", "FILE", "Write a set of frames that lists the products; JSON when it is named .json.",
          "SOXS_PRODUCTS_SOF"),
    _file("--link-dir", "DIR", "Make links to the products in this folder.", "SOXS_LINK_DIR"),
    click.option("--suppress-link", type=bool, metavar="[=BOOL]", envvar="SOXS_SUPPRESS_LINK", show_envvar=True,
                 help="Make no links [default: TRUE without --link-dir]."),
    _file("--log-dir", "DIR", "Folder of the log [default: logs/ in the folder of the products].", "SOXS_LOG_DIR"),
    _file("--log-file", "NAME", "Name of the log [default: RECIPE.log].", "SOXS_LOG_FILE"),
    _level("--log-level", "What goes into the log [default: info].", "SOXS_LOG_LEVEL"),
    _level("--msg-level", "What of the log is shown [default: warning].", "SOXS_MSG_LEVEL"),
    click.option("--time", type=bool, default=False, metavar="", help="Tell time and memory used."),
)  # fmt: skip


def runner_options(command: Callable) -> Callable:
    """Add these options; `command` gets them as `runner`, a RunnerOptions."""

    @functools.wraps(command)
    def gathered(*args, **options):
        values = {field.name: options.pop(field.name) for field in fields(RunnerOptions)}
        return command(*args, runner=RunnerOptions(**values), **options)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


def with_values(words: Sequence[str], switches: Sequence[str]) -> list[str]:
    """Arguments in which a switch that stands alone is TRUE, as EsoRex takes `--time` and `--time=TRUE`.

    Parameters
    ----------
    words : sequence of str
    switches : sequence of str
        Options that are parameters of the recipe: the word behind one is its value unless it is an option.
        The word behind one of ours (`--time x.sof`) is its value only when it is true or false.

    Returns
    -------
    list of str
    """
    full = []
    for word, following in zip(words, [*words, "-"][1:], strict=True):
        own = word in _FLAGS and following.lower() not in _WORDS
        full.append(f"{word}=TRUE" if own or (word in switches and following.startswith("-")) else word)
    return full


def write_config(declaration: Declaration, path: Path, values: Mapping[str, object]) -> None:
    """Write the configuration; InputError where something else than a configuration stands."""
    from soxs_recipes.recipes.framework.settings import write_recipe_config

    if path.exists() and not _is_config(path):
        raise InputError(f"--create-config: {path} is no configuration file; it is left alone")
    write_recipe_config(declaration, path, values)


def _is_config(path: Path) -> bool:
    from soxs_recipes.eso.rc import read_rc

    try:
        if path.suffix == ".json":
            return isinstance(json.loads(path.read_text(encoding="utf-8")), list)
        read_rc(path)
    except (InputError, ValueError):
        return False
    return True


def show_parameters(declaration: Declaration, values: Mapping[str, object], *, as_json: bool) -> None:
    """Parameters with the values that a run would use."""
    from soxs_recipes.recipes.framework.cpl_terms import help_text
    from soxs_recipes.recipes.framework.man import shown

    if as_json:
        entries = [
            {"name": declaration.full_name(entry), "value": values.get(entry.name, entry.default),
             "default": entry.default, "unit": entry.unit, "help": help_text(entry)}
            for entry in declaration.parameters
        ]  # fmt: skip
        emit_json({"schema": 1, "recipe": declaration.name, "parameters": entries})
        return
    for entry in declaration.parameters:
        value = values.get(entry.name, entry.default)
        default = "" if value == entry.default else f"  [default: {shown(entry.default)}]"
        click.echo(f"--{entry.name}={shown(value)}{default}")
        click.echo(f"    {help_text(entry)}")


def deliver(runner: RunnerOptions, products: Sequence[tuple[Path, str]]) -> list[Path]:
    """Write the list of products and make links, as far as they are asked for.

    Parameters
    ----------
    runner : RunnerOptions
    products : sequence of (path, tag)

    Returns
    -------
    list of Path
        What was written and linked.

    Raises
    ------
    InputError
        A file cannot be written, or a link's name is taken by a file.
    """
    made = []
    try:
        if runner.products_sof is not None:
            made.append(_write_list(runner.products_sof.expanduser(), products))
        folder = runner.link_folder()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            made += [_linked(path, folder / path.name) for path, _ in products]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be written ({error.strerror})") from error
    return made


def _write_list(path: Path, products: Sequence[tuple[Path, str]]) -> Path:
    from soxs_recipes.eso.sof import SofEntry, write_sof

    if path.suffix == ".json":
        entries = [{"name": str(product.absolute()), "category": tag} for product, tag in products]
        path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        return path
    # Without a group, so that the next recipe can take it as it is.
    return write_sof(path, [SofEntry(product, tag) for product, tag in products])


def _linked(product: Path, link: Path) -> Path:
    if link.exists() and not link.is_symlink():
        raise InputError(f"{link}: is no link; it is left alone, choose another folder with --link-dir")
    link.unlink(missing_ok=True)
    link.symlink_to(product.absolute())
    return link
