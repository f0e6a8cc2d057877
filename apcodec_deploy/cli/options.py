"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", readable=False, help="A bundle made by 'apcodec export', demo, or demo-s. Default: demo."
    ),
]
BackendName = Annotated[str, typer.Option("--backend", help="Runs the model: auto, onnxruntime, openvino, tensorrt.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, float32, bfloat16 or int8 (CPU), float16 (GPU).")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, or cuda:1 for the second GPU.")]
Engines = Annotated[
    Path | None,
    typer.Option("--engines", readable=False, help="A folder made by 'apcodec build --out'. Default: your cache."),
]
Window = Annotated[
    str | None,
    typer.Option("--window", help="Seconds per window, or 'whole'. Default: the model's; when decoding, the file's."),
]
Output = Annotated[
    str | None, typer.Option("--output", "-o", help="A file for one input, or a folder. Default: beside the input.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at a time. They share the CPU threads.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads. Default: all. The same number gives the same bytes."),
]
Salvage = Annotated[bool, typer.Option("--salvage", help="Decode damaged .apc files. The gaps are silent.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
Subtype = Annotated[
    str | None,
    typer.Option("--subtype", help="Sample format: PCM_16, PCM_24, FLOAT, … Default: 16 bits for wav and flac."),
]
