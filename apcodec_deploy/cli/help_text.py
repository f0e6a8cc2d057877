"""Docstrings as help texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def help_of(function: Callable[..., Any]) -> str:
    """A function's docstring with every paragraph on one line, so that it is wrapped to the terminal's width."""
    text = inspect.cleandoc(function.__doc__ or "")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
