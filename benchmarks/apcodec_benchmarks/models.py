"""Which APCodec is measured: the user's, the embedded one, or one of the published shape with random weights.

And its plain ONNX export, which the contender of that name runs, other models beside it, and models for live use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import APCODEC, Entry, entries_named
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ApcodecError, BenchmarkError, require

RANDOM = "random"
SHAPES: dict[str, dict[str, Any]] = {
    "full": {},
    "small": {"dim": 64, "intermediate_dim": 128, "num_layers": 2},
}
"""Of models for live use: by name, in what they differ from the published shape."""
CONTEXTS = (0, 6)
"""Frames of history that the convolutions of models for live use see: none, as in the paper, or a kernel of seven."""
PLAIN = "apcodec-plain"
"""The contender that runs graphs of its own, exported from the checkpoint without any folding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What contenders are told of the APCodec that is measured.

    Attributes:
        bundle: Its directory.
        checkpoint: What the bundle was made from: a directory, ``random``, or None where nobody knows.
    """

    bundle: str
    checkpoint: str | None


@contextmanager
def model_of(
    bundle: str | None,
    checkpoint: Path | None,
    *,
    reduced: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> Iterator[Model]:
    """Make ready the model that was asked for.

    Args:
        bundle: A bundle's directory, an embedded model (``demo``, ``demo-s``), or None.
        checkpoint: What it was made from, or ``random``. Without a bundle it is exported into a temporary one.
        reduced: Whether graphs in half precision are needed beside the float32 ones.
        progress: Called with what begins next.

    Raises:
        BundleError, CheckpointError, ExportError: It cannot be had.
    """
    if bundle is not None:
        opened = Bundle.find(bundle)
        yield Model(bundle=str(opened.path), checkpoint=None if checkpoint is None else str(checkpoint))
        return
    _require_exporter()
    from apcodec_export.checkpoint import Checkpoint, CheckpointFiles, random_checkpoint
    from apcodec_export.exporting import export_bundle
    from apcodec_export.network import PUBLISHED_48K

    with tempfile.TemporaryDirectory(prefix="apcodec-bench-") as directory:
        if checkpoint is None or str(checkpoint) == RANDOM:
            source = random_checkpoint(PUBLISHED_48K)
            name = "published 48 kHz shape, random weights"
        else:
            source = Checkpoint.load(CheckpointFiles.find(checkpoint))
            name = checkpoint.resolve().name
        # Graphs that only this run uses and that are judged by their speed need no proof of their own.
        made = export_bundle(source, Path(directory) / "bundle", name=name, proven=reduced, progress=progress)
        yield Model(bundle=str(made.path), checkpoint=str(checkpoint or RANDOM))


def other_models(bundles: Sequence[str], codecs: Sequence[str] | None) -> list[Entry]:
    """Contenders for some other models, called as their directories are.

    Args:
        bundles: Their directories.
        codecs: Names of contenders. Each other model runs in every way of these that runs a bundle as it is; by ONNX
            Runtime where there is none.

    Raises:
        BundleError: One of them is none.
        BenchmarkError: Two have one name.
    """
    ways = [entry for entry in entries_named(codecs) if codecs and entry.factory == APCODEC]
    return [
        running(way, str(Bundle.find(bundle).path), name)
        for name, bundle in told_apart(bundles, "--beside").items()
        for way in ways or entries_named(["apcodec"])
    ]


def told_apart(bundles: Sequence[str], option: str) -> dict[str, str]:
    """Directories of the user's bundles by their names, by which contenders are called.

    Raises:
        BenchmarkError: Two have one name.
    """
    names = [Path(bundle).resolve().name for bundle in bundles]
    if len(set(names)) < len(names):
        raise BenchmarkError(f"{option} names two bundles alike ({', '.join(names)}); rename the directory of one")
    return dict(zip(names, bundles, strict=True))


def running(way: Entry, model: str, label: str) -> Entry:
    """A contender that runs a bundle as it is, with another one; it is called so, if the label says anything."""
    options = {**way.options, "model": model, "label": label}
    return replace(way, name=f"{way.name} {label}".strip(), options=options)


@contextmanager
def streamable_models(shape: str, *, progress: Callable[[str], None] = lambda step: None) -> Iterator[dict[str, str]]:
    """Make ready APCodec-S of random weights, one for each of ``CONTEXTS``: bundles' directories by what they are.

    Args:
        shape: One of ``SHAPES``.
        progress: Called with what begins next.

    Raises:
        BenchmarkError: There is no such shape.
    """
    if shape not in SHAPES:
        raise BenchmarkError(f"no shape is called {shape!r}; there are: {', '.join(SHAPES)}")
    _require_exporter()
    from apcodec_export.checkpoint import random_checkpoint
    from apcodec_export.exporting import export_bundle
    from apcodec_export.network import PUBLISHED_48K, streamable

    network = replace(PUBLISHED_48K, **SHAPES[shape])
    with tempfile.TemporaryDirectory(prefix="apcodec-bench-") as directory:
        made = {}
        for context in CONTEXTS:
            name = f"context {context}"
            source = random_checkpoint(streamable(network, context))
            output = Path(directory) / name
            made[name] = str(export_bundle(source, output, name=name, proven=False, progress=progress).path)
        yield made


@contextmanager
def plain_export(
    entries: Sequence[Entry], settings: Settings, *, progress: Callable[[str], None] = lambda step: None
) -> Iterator[list[Entry]]:
    """Make the graphs of ``PLAIN`` ready before it starts: its start-up and its memory are not those of an export.

    Args:
        entries: Of which ``PLAIN`` is told where its graphs are, or why there are none.
        settings: How they will run.
        progress: Called with what begins next.
    """
    wanted = any(entry.name == PLAIN for entry in entries) and settings.checkpoint is not None
    if not wanted or (settings.device, settings.precision) != ("cpu", "float32"):
        yield list(entries)  # the contender itself says what it lacks
        return
    with tempfile.TemporaryDirectory(prefix="apcodec-bench-plain-") as directory:
        told = _exported_plain(settings, Path(directory) / "bundle", progress)
        yield [replace(each, options={**each.options, **told}) if each.name == PLAIN else each for each in entries]


def _exported_plain(settings: Settings, output: Path, progress: Callable[[str], None]) -> dict[str, str]:
    """Options of ``PLAIN``: where its graphs are, or why there are none."""
    try:
        _require_exporter()
        from apcodec_benchmarks.contenders.reference import checkpoint_of
        from apcodec_benchmarks.unfolded import export_unfolded

        checkpoint = checkpoint_of(settings)
        name = Path(str(settings.checkpoint)).resolve().name
        export_unfolded(checkpoint, output, name=name, progress=lambda step: progress(f"{PLAIN}: {step}"))
    except ApcodecError as error:
        return {"problem": str(error)}
    return {"bundle": str(output)}


def _require_exporter() -> None:
    """Name the package that an export lacks here."""
    for module in ("torch", "onnx", "onnxscript", "safetensors"):
        require(module, extra="bench")
