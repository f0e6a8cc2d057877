"""``apcodec inspect``: what a bundle, a set of engines or a .apc file is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from apcodec_deploy.bitstream.reader import open_codes
from apcodec_deploy.bundle import EMBEDDED, Bundle
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.console import print_json, result
from apcodec_deploy.cli.inspect_engines import describe_engines, is_engines
from apcodec_deploy.precision import graph_file


def inspect(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A bundle, demo, demo-s, a folder of engines, an engine or a .apc file. Default: demo.", readable=False
        ),
    ] = None,
    json: shared.Json = False,
) -> None:
    """Print what a bundle, an engine or a .apc file is, after checking all of its checksums."""
    if path is not None and is_engines(path):
        facts = describe_engines(path)
    elif path is None or os.path.isdir(path) or str(path) in EMBEDDED:
        facts = describe_bundle(Bundle.find(path))
    else:
        facts = describe_codes(path)
    if json:
        print_json(facts)
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            result(f"{key}:")
            for name, each in value.items():
                result(f"  {name:<24}{each}")
        else:
            result(f"{key:<26}{value}")


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """The facts of a bundle, after every graph's checksum was compared.

    Raises:
        BundleError: A graph is missing or is not the one that was exported.
    """
    spec = bundle.spec
    sizes = {name: len(bundle.graph(name)) for name in spec.graphs}
    reduced = [(name, precision) for precision in bundle.precisions[1:] for name in bundle.variant(precision)["graphs"]]
    return {
        "kind": "bundle",
        "name": bundle.name,
        "fingerprint": bundle.fingerprint,
        "sample_rate_hz": spec.sample_rate,
        "bitrate_bps": spec.bitrate,
        "latents_per_second": spec.latent_rate,
        "passes_as": spec.layout().title(spec.latent_rate),
        **stream_facts(bundle),
        "spec": spec.to_dict(),
        "graph_bytes": sizes | {graph_file(*key): len(bundle.graph(*key)) for key in reduced},
        "largest_error_vs_pytorch": bundle.worst_errors,
        **({"weights": weights} if (weights := bundle.manifest.get("weights")) else {}),
        **{f"{name}_vs_float32": bundle.variant(name)["judgement"] for name in bundle.precisions[1:]},
        "exporter": bundle.manifest.get("exporter"),
        "notes": list(bundle.manifest.get("notes", ())),
    }


def stream_facts(bundle: Bundle) -> dict[str, Any]:
    """What a bundle of a causal model says of its streams; nothing for one with windows."""
    stream = bundle.manifest.get("stream")
    if not isinstance(stream, dict):
        return {}
    facts = {name: value for name, value in stream.items() if name != "state"}
    for direction, tensors in bundle.spec.states.items():
        facts |= {f"{direction} {tensor.name}": list(tensor.shape) for tensor in tensors}
    found = {"calls_of_other_sizes": bundle.manifest.get("verification", {})}
    found |= {f"calls_of_other_sizes {name}": bundle.variant(name) for name in bundle.precisions[1:]}
    for label, verified in found.items():
        if isinstance(cut := verified.get("calls_of_other_sizes"), dict):
            equal = (
                "equal to the bit"
                if cut["equal_to_the_bit"]
                else f"{cut['other_codes']:.2%} other codes, audio to {cut['audio_relative_to_peak']:.1e} of its peak"
            )
            facts[label] = f"{equal} ({cut.get('with', 'when it was exported')})"
    return {"stream": facts}


def describe_codes(path: Path) -> dict[str, Any]:
    """The facts of a ``.apc`` file, after every chunk's checksum was compared.

    Raises:
        BitstreamError: It is damaged or no ``.apc`` file.
    """
    with open_codes(path) as reader:
        for _ in reader.chunks():
            pass
    header = reader.header
    seconds = header.samples / header.sample_rate
    return {
        "kind": "apc",
        "fingerprint": header.fingerprint,
        "sample_rate_hz": header.sample_rate,
        "model_rate_hz": header.model_rate,
        "channels": header.channels,
        "samples": header.samples,
        "seconds": round(seconds, 6),
        "codebooks": header.codebooks,
        "bits_per_code": header.bits_per_code,
        "samples_per_latent": header.samples_per_latent,
        "latents": header.latents,
        "window": str(header.layout),
        "live": header.live,
        "chunks": reader.chunk_count,
        "bytes": reader.size,
        "bits_per_second": round(8 * reader.size / seconds, 1),
    }
