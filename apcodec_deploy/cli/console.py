"""What the commands print, and where: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def _console(*, stderr: bool) -> Console:
    """A console that never fails on a name it cannot show, and never breaks a line that is not on a screen."""
    stream = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=10_000)


def shown(text: object) -> str:
    """Text as it can be printed on one line: control characters and undecodable bytes of file names are escaped."""
    printable = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in printable)


def say(text: str) -> None:
    """One line for the user, on stderr."""
    _console(stderr=True).print(shown(text), markup=False, soft_wrap=True)


def result(text: str) -> None:
    """One line of a command's result, on stdout."""
    _console(stderr=False).print(shown(text), markup=False, soft_wrap=True)


def result_item(label: str, text: str) -> None:
    """A label and its text on stdout; on a screen, long text is wrapped beside the label."""
    console = _console(stderr=False)
    indent = len(label)
    room = max(console.width - indent, 20)
    lines = textwrap.wrap(shown(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    for index, line in enumerate(lines):
        console.print((label if index == 0 else " " * indent) + line, markup=False, soft_wrap=True)


def print_json(values: Any) -> None:
    """A command's machine-readable answer, on stdout."""
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def progress_bar() -> Progress:
    """A bar on stderr, which shows only where stderr is a terminal."""
    console = Console(stderr=True, highlight=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
