"""``apcodec``: finds its commands by entry point, loads one when it is called, and turns our errors into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from apcodec_deploy.cli.console import print_json, result, say
from apcodec_deploy.cli.greeting import GREETING
from apcodec_deploy.cli.help_text import help_of
from apcodec_deploy.cli.signals import INTERRUPTED, READER_GONE, Signals
from apcodec_deploy.cli.streams import flush_output, guard_streams
from apcodec_deploy.errors import ApcodecError, MissingDependencyError, ReaderGoneError
from apcodec_deploy.version import __version__
from apcodec_deploy.workers import any_left

GROUP = "apcodec_deploy.commands"


def _commands() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


class _LazyCommands(TyperGroup):
    """Commands by entry point: every package of this project brings its own."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if (point := _commands().get(cmd_name)) is None:
            return None
        loaded = _loaded(point)
        if isinstance(loaded, typer.Typer):
            command: Any = typer.main.get_group(loaded)
        else:
            single = typer.Typer(add_completion=False)
            single.command(cmd_name, help=help_of(loaded))(loaded)
            command = typer.main.get_command(single)
        command.name = cmd_name
        return command


def _loaded(point: EntryPoint) -> Callable[..., None] | typer.Typer:
    """A command's function, or a group's; where a module that it needs is missing or broken, one that says so."""
    try:
        found: Callable[..., None] | typer.Typer = point.load()
        return found
    except ImportError as error:
        reason = str(error)

        def function() -> None:
            raise MissingDependencyError(f"'apcodec {point.name}' cannot run: {reason}; 'apcodec doctor' tells more")

        function.__doc__ = f"Not available: {reason}"
    return function


app = typer.Typer(
    cls=_LazyCommands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"apcodec-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Run trained APCodec models: audio to codes and back, files and folders, without PyTorch."""
    if context.invoked_subcommand is None:
        for line in GREETING.splitlines():
            result(line)


def main() -> NoReturn:
    """Run the command line.

    Exit 0 if all went well, 1 after an error, 2 for wrong usage, and 128 and its number after a signal: 130 for Ctrl-C,
    141 where the reader of a pipe has left.
    """
    guard_streams()
    signals = Signals()
    try:
        signals.listen()
        code = _refused(sys.argv[1:]) or _run()
        if code != INTERRUPTED or not any_left():  # else the thread that is left may hold the stream
            flush_output()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except ReaderGoneError:
        code = READER_GONE
    except Exception as error:
        if signals.heard:  # what it broke off is no error to be told
            code = INTERRUPTED
        elif isinstance(error, ApcodecError):
            code = _told(error)
        elif isinstance(error, OSError) and error.filename is not None:
            code = _told(ApcodecError(f"{os.fsdecode(error.filename)} cannot be used: {error.strerror}"))
        else:
            raise
    code = signals.exit_code(code)
    if any_left():
        # It waits natively for a file or a pipe that gives nothing, and would be torn out of that.
        os._exit(code)
    # Where the interrupt came into code made of a string, as of a dataclass that is being imported, Python holds it for
    # unhandled until more such code runs, and ends by SIGINT whatever the exit code.
    exec("")
    sys.exit(code)


def _refused(arguments: list[str]) -> int:
    """The exit code for an empty argument, which would stand for the working directory; 0 where there is none."""
    if "" not in arguments:
        return 0
    say(f"error: argument {arguments.index('') + 1} is empty, as an unset variable in quotes is; give it a value")
    return 2


def _run() -> int:
    """The exit code of what the arguments ask for."""
    try:
        app()
    except SystemExit as end:
        if isinstance(end.code, str):
            say(end.code)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _told(error: ApcodecError) -> int:
    """Turn an error into its line, its JSON where that is asked for, and an exit code."""
    say(f"error: {error}")
    with suppress(ApcodecError):
        if "--json" in sys.argv:
            print_json({"error": {"kind": type(error).__name__, "message": str(error)}})
        flush_output()
    return 1


if __name__ == "__main__":
    main()
