"""How Reflex's PythonActor calls a script: `script --input-parameters-file F --output-parameters-file G`.

Reflex makes the actor's ports from the options that the script tells with `--help`: those after the word
`outputs:` are output ports. What stands at the input ports is in the first file as JSON, the script's answer goes
to the second.
"""

from __future__ import annotations

import contextlib
import json
import optparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from soxs_recipes.errors import InputError, SoxsError

__all__ = ["act"]

_OF_REFLEX = ("input-parameters-file", "output-parameters-file", "products-dir", "stdout-file", "stderr-file")


def act(
    name: str,
    description: str,
    ports: tuple[Mapping[str, str], Mapping[str, str]],
    needed: Sequence[str],
    work: Callable[[dict[str, object]], Mapping[str, object]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Act as a PythonActor: read the inputs, work, write the outputs; gives the exit code.

    Parameters
    ----------
    name : str
        Begins the lines of errors.
    description : str
        For `--help`.
    ports : (inputs, outputs)
        Name of each port -> letter of its short option.
    needed : sequence of str
        Inputs that must be there.
    work : callable
        Inputs by name -> outputs by name; its SoxsError becomes one line and an exit code.
    arguments : sequence of str or None
        None: of the command line.
    """
    inputs, outputs = ports
    options, _ = _parser(description, inputs, outputs).parse_args(None if arguments is None else list(arguments))
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(_copied(stack, sys.stdout, options.stdout_file)))
        stack.enter_context(contextlib.redirect_stderr(_copied(stack, sys.stderr, options.stderr_file)))
        try:
            text = json.dumps(work(_values(options, inputs, needed)), sort_keys=True, indent=2)
            if options.output_parameters_file:
                Path(options.output_parameters_file).write_text(text, encoding="ascii")
            else:
                sys.stdout.write(text + "\n")
        except SoxsError as error:
            sys.stderr.write(f"{name}: {error}\n")
            return error.exit_code
        except OSError as error:
            sys.stderr.write(f"{name}: {error.filename}: {error.strerror}\n")
            return InputError.exit_code
    return 0


class _Parser(optparse.OptionParser):
    """Options whose help goes on with the outputs."""

    outputs: Mapping[str, str] = {}

    def format_help(self, formatter=None) -> str:
        """Options, then outputs."""
        lines = [f"  -{letter} {name.upper()}, --{name}={name.upper()}" for name, letter in self.outputs.items()]
        return "\n".join([f"{super().format_help(formatter)}\noutputs:", *lines, ""])


def _parser(description: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> optparse.OptionParser:
    parser = _Parser(description=description)
    parser.outputs = outputs
    for name in _OF_REFLEX:
        parser.add_option(f"--{name}", dest=name.replace("-", "_"))
    for name, letter in inputs.items():
        parser.add_option(f"-{letter}", f"--{name}", dest=name)
    return parser


class _Copied:
    """A stream whose text goes to a file, too."""

    def __init__(self, stream, file):
        self.stream, self.file = stream, file

    def write(self, text: str) -> int:
        """Write to both."""
        self.file.write(text)
        return self.stream.write(text)

    def flush(self) -> None:
        """Flush both."""
        self.file.flush()
        self.stream.flush()


def _copied(stack: contextlib.ExitStack, stream, name: str | None):
    if not name:
        return stream
    return _Copied(stream, stack.enter_context(Path(name).open("w", encoding="utf-8")))


def _values(options: object, inputs: Mapping[str, str], needed: Sequence[str]) -> dict[str, object]:
    """What stands at the ports: in the file of parameters, or on the command line, which wins."""
    values = _values_of_file(options.input_parameters_file, inputs)
    values |= {name: value for name in inputs if (value := getattr(options, name)) is not None}
    missing = [name for name in needed if name not in values]
    if missing:
        raise InputError(f"nothing at the port {', '.join(missing)}; {', '.join(needed)} are needed")
    return values


def _values_of_file(name: str | None, inputs: Mapping[str, str]) -> dict[str, object]:
    if not name:
        return {}
    try:
        values = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{name}: is not JSON ({error})") from error
    known = {*inputs, "products_dir"}
    unknown = sorted(set(values) - known) if isinstance(values, dict) else ["no mapping"]
    if unknown:
        raise InputError(f"{name}: no such port: {', '.join(unknown)}")
    return values
