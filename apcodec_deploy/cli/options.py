"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", readable=False, help="Bundle made by 'apcodec export'; else the embedded demo model."
    ),
]
BackendName = Annotated[str, typer.Option("--backend", help="auto, onnxruntime, openvino or tensorrt.")]
Precision = Annotated[
    str, typer.Option("--precision", help="auto, float32; bfloat16 or int8 on the CPU; float16 on GPUs.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or cuda:1 for another GPU.")]
Engines = Annotated[
    Path | None,
    typer.Option("--engines", readable=False, help="Folder made by 'apcodec build --out'; else the user's cache."),
]
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
