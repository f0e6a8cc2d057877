"""``apcodec triton``. Imports nothing heavy, so that ``--help`` works without Triton's client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.backends.base import BackendOptions
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result
from apcodec_deploy.errors import ServingError
from apcodec_serving.profiles import profile_named


def triton(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="A bundle, demo or demo-s, and the folder to write. Without BUNDLE: demo.",
            metavar="[BUNDLE] REPOSITORY",
            readable=False,
        ),
    ],
    profile: Annotated[str, typer.Option("--profile", help="latency, balanced or throughput.")] = "balanced",
    plain: Annotated[
        bool,
        typer.Option("--plain", help="ONNX graphs and ensembles of them. No Python in the server, fewer abilities."),
    ] = False,
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: shared.Device = "auto",
    engines: shared.Engines = None,
    window: Annotated[
        str | None, typer.Option("--window", help="Seconds per window, or 'whole'. Default: the model's.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads per instance. Default: the profile's.")
    ] = None,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", help="The most audio in one request, all rows together.")
    ] = 600.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing repository.")] = False,
    json: shared.Json = False,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server.

    It holds the models apcodec_encode and apcodec_decode, and for a streamable bundle apcodec_stream_encode and
    apcodec_stream_decode. They run on this package, so it must be installed where the server runs, and the bundle must
    be there at the same path. Without --device the models run on all GPUs of this
    machine, or on the CPU if it has none.
    """
    from apcodec_serving.repository import ServingOptions, write_repository

    *bundles, repository = paths
    if len(bundles) > 1:
        raise ServingError(f"{len(paths)} paths; a bundle and a repository, or a repository alone, are expected")
    opened = Bundle.find(bundles[0] if bundles else None)
    options = ServingOptions(
        profile=profile_named(profile),
        backend=BackendOptions(name=backend, device=device, precision=precision, threads=threads, engines=engines),
        window=window,
        max_seconds=max_seconds,
        plain=plain,
    )
    models = write_repository(opened, repository, options, overwrite=overwrite)
    if json:
        print_json({"path": str(repository.resolve()), "models": models, "profile": profile})
        return
    result(f"{repository}: {', '.join(models)}; profile {profile}")
    result(f"start it with: tritonserver --model-repository {repository.resolve()}")
