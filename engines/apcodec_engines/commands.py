"""``apcodec build``. Imports nothing heavy, so that ``--help`` works without TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, progress_bar, result, say
from apcodec_deploy.errors import require


def build(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="A bundle made by 'apcodec export'. Default: the embedded demo model.", readable=False),
    ] = None,
    precision: Annotated[
        str,
        typer.Option("--precision", help="fp16, fp32 or auto. auto takes fp16 if the export recommends it."),
    ] = "auto",
    flavour: Annotated[
        str,
        typer.Option("--flavour", help="tensorrt (build on the GPU that runs it), rtx (build anywhere) or auto."),
    ] = "auto",
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            help="low-latency, throughput, max-window, streaming or a TOML file. auto takes streaming for a streamable "
            "model, else low-latency.",
        ),
    ] = "auto",
    parts: Annotated[
        bool, typer.Option("--parts", help="One engine per graph, for debugging. Default: one per direction.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the engines. Default: your cache.", readable=False)
    ] = None,
    device: Annotated[
        int | None, typer.Option("--device", min=0, help="Number of the GPU. Default: the first, if there is one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again even if the engines are up to date.")] = False,
    json: shared.Json = False,
) -> None:
    """Turn a bundle into TensorRT engines: one for audio to codes, one for codes to audio.

    Engines that are up to date are kept. Old ones are built again, and the reason is printed. The flavour rtx needs no
    GPU to build. On a machine with a GPU, new engines are compared with ONNX Runtime before anything uses them.
    """
    for module in ("onnx", "filelock"):
        require(module, extra="rtx")
    from apcodec_engines.building import build_engines
    from apcodec_engines.planning import BuildOptions

    opened = Bundle.find(bundle)
    options = BuildOptions(
        precision=precision, flavour=flavour, profile=profile, parts=parts, out=out, force=force, device=device
    )
    with progress_bar() as bar:
        task = bar.add_task("starting", total=100)

        def report(what: str, share: float) -> None:
            bar.update(task, completed=100 * share, description=what)

        built = build_engines(opened, options, report=report, say=say)
    manifest = built.stored.manifest
    if json:
        status = "up to date" if built.up_to_date else "built"
        facts = {"status": status, "reasons": list(built.reasons), "path": str(built.stored.path)}
        print_json({**facts, **manifest.to_dict()})
        return
    if built.up_to_date:
        result(f"up to date: {built.stored.path}")
    for engine in () if built.up_to_date else manifest.engines:
        products = {kind: engine.audit[kind] for kind in ("CONVOLUTION", "MATRIX_MULTIPLY") if kind in engine.audit}
        counts = ", ".join(f"{n} {kind.lower()} {dtype}" for kind, by in products.items() for dtype, n in by.items())
        result(
            f"{engine.name}: {engine.size / 1e6:.1f} MB in {engine.build_seconds:.1f} s, {engine.precision}; {counts}"
        )
    for note in () if built.up_to_date else manifest.notes:
        say(f"note: {note}")
    if not built.up_to_date:
        identity = manifest.identity
        result(f"{built.stored.path}: profile {identity.profile.name}, for {identity.target}")
