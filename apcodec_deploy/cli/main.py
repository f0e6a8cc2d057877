"""``apcodec``: finds its commands by entry point, loads one when it is called, and turns our errors into one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from apcodec_deploy import __version__
from apcodec_deploy.cli.console import print_json, result, say
from apcodec_deploy.errors import ApcodecError, MissingDependencyError

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
            single.command(cmd_name)(loaded)
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
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"apcodec-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Run trained APCodec models: audio to codes and back, folders of it, without PyTorch."""


def main() -> None:
    """Run the command line; exit 0 if all went well, 1 after an error, 2 for wrong usage, 130 when interrupted."""
    # A job that is told to end, as by a scheduler, cleans up as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except ApcodecError as error:
        if "--json" in sys.argv:
            print_json({"error": {"kind": type(error).__name__, "message": str(error)}})
        say(f"error: {error}")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
