"""Checkpoint to bundle: load, export, verify, and only then move into place."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxscript
import torch

from apcodec_deploy.bundle import FORMAT, FORMAT_VERSION, MANIFEST, OPSET, Bundle
from apcodec_deploy.errors import BundleError, OutputError
from apcodec_deploy.families import ALL_GRAPHS
from apcodec_deploy.files import folder_written_whole
from apcodec_deploy.precision import EXPORTED, FLOAT32, graph_file
from apcodec_deploy.proof import FILES
from apcodec_deploy.version import __version__
from apcodec_export.checkpoint import Checkpoint
from apcodec_export.deployed.precision import HALF, INTEGER, PrecisionPlan
from apcodec_export.forms import form_of, layer_paths
from apcodec_export.graphs import Graph, to_onnx
from apcodec_export.integers import integer_graphs, judge_integers
from apcodec_export.judgement import judge
from apcodec_export.proof import described as described_proof
from apcodec_export.proof import proof_files
from apcodec_export.rounding import WEIGHT_BITS, check_weight_bits, fewer_bits, judge_rounding
from apcodec_export.verification import verify_reduced


def steps_of(checkpoint: Checkpoint, precisions: Collection[str] = EXPORTED) -> int:
    """How often ``export_bundle`` reports progress."""
    spec = checkpoint.network.spec()
    half, integer = (name in precisions for name in (HALF.name, INTEGER.name))
    return len(spec.graphs) + 1 + half * (len(spec.reduced) + 1) + integer * 2


UNPROVEN = "the graphs were not compared with PyTorch: for timing only"


def export_bundle(
    checkpoint: Checkpoint,
    output: Path,
    *,
    name: str | None = None,
    plan: PrecisionPlan = HALF,
    precisions: Collection[str] = EXPORTED,
    weight_bits: int = WEIGHT_BITS,
    made: dict[str, Graph] | None = None,
    overwrite: bool = False,
    proven: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Write a verified bundle; it appears whole or not at all.

    Args:
        checkpoint: The model.
        output: The bundle's directory, which must not exist unless ``overwrite``.
        name: What to call the model; the directory's name where None.
        plan: What the half-precision graphs beside the float32 ones compute in. There are 8-bit ones besides.
        precisions: Which of ``EXPORTED`` to export; float32 is always there.
        weight_bits: Significant bits of the weights, so that the packed bundle gets smaller; see ``rounding``.
        made: What the float32 graphs compute, where that is not the deployed form of the checkpoint; without ``proven``
            there are no others then.
        overwrite: Replace a bundle that is there. Anything else than a bundle is never replaced.
        proven: Whether every graph is compared with PyTorch, and reduced ones are judged. Without that a bundle is
            good for timing only, says so, and has no half-precision graphs.
        progress: Called with what begins next, ``steps_of`` times.

    Raises:
        ExportError: A graph could not be made or differs from PyTorch.
        OutputError: Something is in the way, or the directory cannot be written.
    """
    output = output.resolve()  # what a link points to is replaced, not the link
    _check_target(output, overwrite=overwrite)
    plan.check(layer_paths(checkpoint))
    check_weight_bits(weight_bits)
    graphs = form_of(checkpoint).graphs() if made is None else made
    models = _serialized(checkpoint, graphs, progress)
    if proven:
        progress("verifying against PyTorch")
        variants = {}
        verification = form_of(checkpoint).verify(models)
        if plan.name in precisions:
            variants[plan.name] = _half_variant(checkpoint, plan, progress, weight_bits)
        if INTEGER.name in precisions:
            variants[INTEGER.name] = _integer_variant(checkpoint, models, progress, weight_bits, judged=True)
    else:
        verification, variants = {}, {}
        if not made:
            variants[INTEGER.name] = _integer_variant(checkpoint, models, progress, weight_bits, judged=False)
    models = fewer_bits(models, weight_bits)
    manifest = _manifest(checkpoint, models, name or output.name, verification)
    if weight_bits < WEIGHT_BITS:
        manifest["weights"] = {"bits": weight_bits}
        if proven:
            manifest["weights"] |= judge_rounding(checkpoint, models, weight_bits)
    if not proven:
        manifest["notes"].append(UNPROVEN)
    files = {graph_file(label): data for label, data in models.items()}
    proof = proof_files(checkpoint)
    manifest["proof"] = described_proof({label: _digest(data) for label, data in proof.items()})
    files |= proof
    manifest["variants"] = {precision: variant.described for precision, variant in variants.items() if variant.models}
    for precision, variant in variants.items():
        files |= {graph_file(label, precision): data for label, data in variant.models.items()}
        manifest["notes"] += variant.notes
    files[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    with folder_written_whole(output) as folder:
        for file, data in files.items():
            (folder / file).write_bytes(data)
    return Bundle.open(output)


def _check_target(output: Path, *, overwrite: bool) -> None:
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise OutputError(f"{output} exists; --overwrite replaces a bundle")
    try:
        names = {path.name for path in output.iterdir()}
        if names:
            Bundle.open(output)
        graphs = {graph_file(label, precision) for label in ALL_GRAPHS for precision in EXPORTED}
        foreign = sorted(names - {MANIFEST, *FILES} - graphs)
    except (OSError, BundleError) as error:
        raise OutputError(f"{output} exists and is no bundle, so it is not replaced; choose another place") from error
    if foreign:
        raise OutputError(f"{output} holds more than a bundle ({', '.join(foreign)}), so it is not replaced")


def _manifest(
    checkpoint: Checkpoint, models: dict[str, bytes], name: str, verification: dict[str, Any]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": name,
        "fingerprint": checkpoint.fingerprint,
        "spec": checkpoint.network.spec().to_dict(),
        "network": asdict(checkpoint.network),
        "opset": OPSET,
        "graphs": _described(models),
        "exporter": {
            "apcodec-deploy": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
        },
        "verification": verification,
        **form_of(checkpoint).described(),
        "notes": list(checkpoint.notes),
    }


def _described(models: dict[str, bytes], precision: str = FLOAT32) -> dict[str, Any]:
    return {label: {"file": graph_file(label, precision)} | _digest(data) for label, data in models.items()}


def _digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _serialized(
    checkpoint: Checkpoint, made: dict[str, Graph], progress: Callable[[str], None], precision: str = FLOAT32
) -> dict[str, bytes]:
    models = {}
    for label, graph in made.items():
        progress(f"exporting {graph_file(label, precision)}")
        models[label] = to_onnx(graph, checkpoint.fingerprint).SerializeToString(deterministic=True)
    return models


@dataclass(frozen=True, slots=True)
class _Variant:
    """The graphs of a reduced precision.

    Attributes:
        models: Serialized, by name; none where the precision is of no use.
        described: What ``model.json`` says of them.
        notes: What the user should know.
    """

    models: dict[str, bytes]
    described: dict[str, Any]
    notes: list[str]


def _half_variant(
    checkpoint: Checkpoint, plan: PrecisionPlan, progress: Callable[[str], None], weight_bits: int
) -> _Variant:
    """Half precision; no graphs where a value comes near the end of the type's range: what overflows is lost."""
    made = form_of(checkpoint).reduced(plan)
    models = fewer_bits(_serialized(checkpoint, made, progress, plan.name), weight_bits)
    progress(f"judging {plan.name}")
    judgement = judge(checkpoint, plan)
    notes = [f"{plan.name}: {problem}" for problem in judgement.problems]
    if not judgement.in_range:
        return _Variant({}, {}, [*notes, f"{plan.name}: so there are no such graphs; keep those layers in float32"])
    described = {
        "plan": plan.to_dict(layer_paths(checkpoint, plan)),
        "graphs": _described(models, plan.name),
        "judgement": judgement.to_dict(),
        "verification": verify_reduced(made, models),
    }
    return _Variant(models, described, notes)


def _integer_variant(
    checkpoint: Checkpoint,
    exported: dict[str, bytes],
    progress: Callable[[str], None],
    weight_bits: int,
    *,
    judged: bool,
) -> _Variant:
    """8-bit products, which are not advised where nobody judged them."""
    form = form_of(checkpoint)
    plan = form.integer
    progress(f"quantising to {plan.name}")
    models = fewer_bits(integer_graphs(checkpoint, exported), weight_bits)
    progress(f"judging {plan.name}")
    judgement = judge_integers(checkpoint, models) if judged else None
    described = {
        "plan": plan.to_dict(layer_paths(checkpoint, plan)),
        "graphs": _described(models, plan.name),
        "judgement": judgement.to_dict() if judgement else {"advised": False},
        **(form.verify_integers(models) if judged else {}),
    }
    notes = [f"{plan.name}: {problem}" for problem in judgement.problems] if judgement else []
    return _Variant(models, described, notes)
