"""An acceptance as one table, for the screen and for documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apcodec_benchmarks.acceptance.running import FORMAT, FORMAT_VERSION
from apcodec_deploy.errors import BenchmarkError

_HEAD = "| what | case | times real time | ms | middle half | of the card | limit |\n|---|---|--:|--:|--:|--:|---|"
NONE = "**Nothing in this project has run on a GPU yet.**"
"""What documents say while there is no result of a real card."""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results of real cards in a folder, newest first.

    Raises:
        BenchmarkError: A file holds something else.
    """
    found = []
    for file in sorted(folder.glob("*.json")):
        held = json.loads(file.read_text(encoding="utf-8"))
        if (held.get("format"), held.get("format_version")) != (FORMAT, FORMAT_VERSION):
            raise BenchmarkError(f"{file} is no result of an acceptance; expected format {FORMAT!r} {FORMAT_VERSION}")
        if held["rehearsed"]:
            raise BenchmarkError(f"{file} is a rehearsal, whose figures mean nothing; remove it")
        found.append(held)
    return sorted(found, key=lambda held: str(held["made"]), reverse=True)


def documented(folder: Path) -> str:
    """What documents show: every result of a real card, or that there is none."""
    return "\n\n".join(table(each) for each in read_results(folder)) or NONE


def table(result: Mapping[str, Any]) -> str:
    """The machine, what became of each part, and every figure."""
    lines = [_machine(result), "", "| part | |", "|---|---|"]
    for part in result["parts"]:
        wrong = [check["what"] for check in part["checks"] if not check["passed"]]
        words = [part["status"], *([part["problem"]] if part.get("problem") else []), *wrong]
        lines.append(f"| {part['part']} | {'; '.join(words)} |")
    figures = [figure for part in result["parts"] for figure in part["figures"]]
    if figures:
        lines += ["", _HEAD, *map(_row, figures)]
    return "\n".join(lines)


def _machine(result: Mapping[str, Any]) -> str:
    """The card, its driver and clocks, the versions, and the date."""
    held = result["environment"]
    cards = [", ".join(f"{name} {value}" for name, value in card.items()) for card in held["gpus"]] or ["no GPU"]
    tensorrt = ("tensorrt", "tensorrt_cu12_bindings", "tensorrt_cu13_bindings")
    wanted = ("onnxruntime", "onnxruntime-gpu", *tensorrt, "torch", "transformers", "pycuda")
    versions = [f"{name} {held['packages'][name]}" for name in wanted if name in held["packages"]]
    words = [
        *cards,
        ", ".join(versions),
        f"apcodec-deploy {held['apcodec-deploy']}" + (f" at {held['revision']}" if held["revision"] else ""),
        result["made"][:10],
    ]
    rehearsed = "REHEARSAL, no figure means anything. " if result["rehearsed"] else ""
    return rehearsed + "; ".join(words)


def _row(figure: Mapping[str, Any]) -> str:
    times = figure["times"]
    values = sorted(times["values"])
    low, high = values[len(values) // 4], values[(3 * len(values)) // 4 if len(values) > 1 else 0]
    case = f"{figure['operation'].replace('_', ' ')}, batch {figure['batch']}"
    case += f", {figure['stage']}" if figure["stage"] else "" if figure["copies"] else ", copies left out"
    share = f"{figure['ceiling_share']:.1%}" if figure["ceiling_share"] else ""
    cells = (
        *(figure["what"], case, f"{figure['real_time']:.4g}", f"{1000 * times['median']:.4g}"),
        *(f"{1000 * low:.4g} to {1000 * high:.4g}", share, figure["limit"] or ""),
    )
    return f"| {' | '.join(cells)} |"
