"""The `soxs` command: which words it knows, and what becomes of an error.

Nothing heavy is imported here: a word's module is loaded when the word is used, so that `soxs --help` and shell
completion answer at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback

import click

from soxs_recipes import __version__
from soxs_recipes.errors import InputError, Interrupted, SoxsError
from soxs_recipes.threads import settle_environment

__all__ = ["main", "soxs"]

# Word -> (module of this package, attribute, one line for the help).
COMMANDS = {
    "prep": ("night_commands", "prep", "Learn what frames a folder holds."),
    "reduce": ("night_commands", "reduce_group", "Reduce a whole folder (all) or one set of frames (sof)."),
    "plan": ("plan_commands", "plan", "Show which recipe calls a folder needs; --why tells the reason of each."),
    "explain": ("plan_commands", "explain", "Tell all about one frame or product."),
    "check": ("plan_commands", "check", "Check that every target has its calibrations."),
    "list": ("plan_commands", "list_group", "List observing blocks (ob), sets of frames (sof) or frames."),
    "raw": ("plan_commands", "raw_group", "List or gather the raw frames behind a product (raw sof)."),
    "session": ("night_commands", "session", "List (ls), make (new) or choose a session."),
    "demo": ("demo_commands", "demo", "Simulate one small night and reduce it."),
    "review": ("review_commands", "review", "Judge a step in a window, change its parameters and repeat it."),
    "watch": ("watch_commands", "watch_group", "Reduce frames as they arrive (start, stop, status)."),
    "simulate": (
        "demo_commands",
        "simulate",
        "Write raw frames of a simulated night, with the truth beside them.",
    ),
    "recipes": ("info_commands", "recipes", "List the recipes."),
    "man": ("info_commands", "man", "Show the manual of a recipe."),
    "settings": ("info_commands", "settings", "Write a settings file with every parameter explained."),
    "install-plugins": (
        "plugin_commands",
        "install_plugins",
        "Make the recipes known to pyesorex and EsoRex.",
    ),
    "install-workflows": (
        "workflow_commands",
        "install_workflows",
        "Put the Reflex workflow in place, for your folders of data.",
    ),
    "edps": ("edps_commands", "edps", "Tell the settings by which ESO's EDPS runs the pipeline."),
    "completion": ("info_commands", "completion", "Print the script that completes words in your shell."),
}


class LazyGroup(click.Group):
    """A group whose words are loaded when they are used; the recipes are words of it, too."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Own words, then one word a recipe."""
        from soxs_recipes.recipes.framework.registry import RECIPES

        return [*COMMANDS, *(entry.commands[0] for entry in RECIPES.values())]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a word, None when there is none."""
        if name in COMMANDS:
            module, attribute, _ = COMMANDS[name]
            return getattr(importlib.import_module(f"soxs_recipes.cli.{module}"), attribute)
        from soxs_recipes.recipes.framework.registry import command_names

        word = name.replace("-", "_").removeprefix("soxs_")
        if word not in command_names():
            return None
        from soxs_recipes.cli.recipe_commands import recipe_command

        return recipe_command(command_names()[word])

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple:
        """As click does, with the nearest word in the message when there is none."""
        if args and self.get_command(context, args[0]) is None and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(context), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            context.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Words with their one line, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])
        with formatter.section("Recipes (on a SOF, a folder or frames)"):
            formatter.write_dl(_recipe_lines())


def _recipe_lines() -> list[tuple[str, str]]:
    from soxs_recipes.recipes.framework.registry import RECIPES

    lines = []
    for entry in RECIPES.values():
        try:
            synopsis = entry.load().declaration.synopsis
        except ImportError as error:
            synopsis = f"cannot be loaded: {error}"
        lines.append((entry.commands[0], synopsis))
    return lines


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "--version", prog_name="soxs")
def soxs() -> None:
    """Reduce raw SOXS frames to science-ready spectra.

    Two commands do it: `soxs prep .` and `soxs reduce all .` in a folder of raw frames.

    \b
    soxs demo                 the same on a simulated night, without frames
    soxs COMMAND --help       what a command does, with examples
    soxs man RECIPE           what a recipe takes, does and gives
    soxs explain FILE         what a frame or product is, what uses it, what made it
    """  # noqa: D301 - click wants the character


def main(arguments: list[str] | None = None) -> int:
    """Run the command; errors become one line and an exit code. Console script and tests call it."""
    settle_environment()
    try:
        code = soxs.main(arguments, prog_name="soxs", standalone_mode=False)
    except click.exceptions.Abort:
        return _report("interrupted", Interrupted.exit_code)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except Interrupted as error:
        return _report(str(error), getattr(error, "signal_code", error.exit_code))
    except SoxsError as error:
        return _report(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; what is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _report("interrupted", Interrupted.exit_code)
    except OSError as error:
        # No place, no right, no file: the user can put it right.
        return _report(f"{error.filename or 'file system'}: {error.strerror or error}", InputError.exit_code)
    # The border of the program: a defect of ours must not look like one of the data.
    except Exception as error:
        logging.getLogger("soxs_recipes").debug("unexpected error", exc_info=True)
        return _report(f"unexpected {type(error).__name__}: {error} (please report this; -V shows where)", 1)
    return code if isinstance(code, int) else 0


def _report(message: str, code: int) -> int:
    """One line on standard error; with -V the trace is logged."""
    click.echo(f"soxs: error: {' '.join(message.split())}", err=True)
    if logging.getLogger("soxs_recipes").isEnabledFor(logging.DEBUG) and sys.exc_info()[0] is not None:
        click.echo(traceback.format_exc(), err=True)
    return code


def run() -> None:
    """Entry point of `python -m soxs_recipes.cli`."""
    sys.exit(main())
