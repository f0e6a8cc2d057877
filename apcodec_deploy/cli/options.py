"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.errors import ApcodecError

Model = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", readable=False, help="Bundle made by 'apcodec export'; else the embedded demo model."
    ),
]
BackendName = Annotated[str, typer.Option("--backend", help="auto or onnxruntime.")]
Precision = Annotated[str, typer.Option("--precision", help="auto or float32.")]
Device = Annotated[str, typer.Option("--device", help="auto or cpu.")]
Window = Annotated[
    str | None,
    typer.Option("--window", help="'whole', or seconds per window; else the model's, when decoding the file's."),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="A file for one input, or a folder; else beside the input.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time, sharing the CPU threads.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads; else all. The same number gives the same bytes."),
]
Salvage = Annotated[bool, typer.Option("--salvage", help="Decode damaged .apc files, with silence in the gaps.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable answer to stdout.")]
Subtype = Annotated[
    str | None,
    typer.Option("--subtype", help="How samples are stored, e.g. PCM_16, PCM_24, FLOAT; else the format's usual."),
]


def check_device(precision: str, device: str) -> None:
    """Refuse what this version does not have, rather than run something else.

    Raises:
        ApcodecError: Another precision than float32, or another device than the CPU.
    """
    if precision not in ("auto", "float32"):
        raise ApcodecError(f"--precision {precision}: this version has float32 only")
    if device not in ("auto", "cpu"):
        raise ApcodecError(f"--device {device}: this version runs on the cpu only")
