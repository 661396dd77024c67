"""The command line: its commands, and each error as one line and an exit code."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import tyro

import jax_inr
from jax_inr.cli import process
from jax_inr.cli.parsing import MARKERS, errors_in_one_line
from jax_inr.errors import ConfigError, JaxInrError

ABOUT = """Fit images with coordinate networks, draw them at any size, measure.

jax-inr COMMAND --help tells the options of a command, jax-inr --version the version.
"""
# Each is a module of this folder: its `command` takes the words, and its options'
# docstring is what the list of commands says of it.
COMMANDS = {
    "fit": "fit",
    "render": "render",
    "export": "export",
    "extrapolate": "extrapolate",
    "compare": "compare",
    "restore": "restore",
    "dataset": "dataset",
    "digits": "digits",
    "bench": "bench",
    "spectral-bias": "spectral_bias",
}
# Failures of the environment: one line. Anything else is a bug and shows its traceback.
ENVIRONMENT_ERRORS = (OSError, MemoryError, ModuleNotFoundError)


@process.rare_collections()
def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    process.prepare_streams()
    try:
        if words[:1] and words[0] in COMMANDS:
            return _module(words[0]).command(words[1:])
        if words == ["--version"]:
            process.Output().write(f"jax-inr {jax_inr.__version__}\n")
            return 0
        _list_commands(words or ["--help"])
    except SystemExit as stop:  # of --help
        return int(stop.code or 0)
    except BrokenPipeError:  # of --help, which tyro prints
        return 0
    except (JaxInrError, KeyboardInterrupt, *ENVIRONMENT_ERRORS) as error:
        if "--debug" in words:
            process.say(traceback.format_exc())
        message, code = process.explain(error)
        process.say(f"error: {message}")
        return code
    finally:
        process.Output().flush()
        # A warning of Python's may be there still, and the disk be full.
        with process.dropping(sys.stderr):
            sys.stderr.flush()
    return 0


def _module(name: str) -> Any:
    return importlib.import_module(f"jax_inr.cli.{COMMANDS[name]}")


def _list_commands(words: list[str]) -> None:
    """Have tyro list all commands or complete their words; refuse a wrong one.

    A command that is named does not come by here: fit's defaults depend on its words,
    and the modules of the others need not be imported.
    """
    if not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        hint = (
            f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
        )
        raise ConfigError(f"unknown command {words[0]!r}", hint)
    app = tyro.extras.SubcommandApp()
    for name in COMMANDS:
        options = _module(name).Options
        app.command(options, name=name, help=options.__doc__.split("\n")[0])
    with errors_in_one_line():
        app.cli(prog="jax-inr", args=words, description=ABOUT, config=MARKERS)
