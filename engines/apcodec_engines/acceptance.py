"""New engines on the GPU they are for: each direction beside ONNX Runtime, half precision replaced where it fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.backends.tensorrt import TensorRTBackend
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Device
from apcodec_deploy.engines.flavour import TensorRT
from apcodec_deploy.engines.manifest import FUSED, MANIFEST, Engine
from apcodec_deploy.engines.profile import Profile
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import ApcodecError, BuildError
from apcodec_deploy.precision import FLOAT32
from apcodec_engines.gate import Calls, Check, check_decode, check_encode, merged

_STREAM_LATENTS = 128
"""Enough that a share of equal codes means something; 0.85 s at 150 per second."""
Rebuild = Callable[[Engine, StoredSet], Engine]


def accept(
    draft: StoredSet,
    bundle: Bundle,
    tensorrt: TensorRT,
    device: Device,
    *,
    rebuild: Rebuild,
    say: Callable[[str], None],
) -> StoredSet:
    """Check a set that nobody uses yet.

    Args:
        draft: The set; its manifest on disk is renewed where an engine is replaced.
        bundle: The model.
        tensorrt: Whose engines they are.
        device: Where they are to run.
        rebuild: Makes an engine again, in float32, beside the others.
        say: Told what fails.

    Returns:
        The set with what was found of each engine.

    Raises:
        BuildError: A direction fails in float32.
    """
    for direction in FUSED:
        check = _check(direction, draft, bundle, tensorrt, device)
        if not check.passed:
            reduced = [each for each in draft.manifest.chain(direction) if each.precision != FLOAT32]
            if not reduced:
                raise BuildError(_failure(direction, check, tensorrt))
            note = f"{_failure(direction, check, tensorrt)}; it runs in float32 instead"
            say(f"WARNING: {note}")
            for engine in reduced:
                draft = _with(draft, rebuild(engine, draft))
            draft = replace(draft, manifest=replace(draft.manifest, notes=(*draft.manifest.notes, note)))
            (draft.path / MANIFEST).write_text(draft.manifest.to_json(), encoding="utf-8")
            check = _check(direction, draft, bundle, tensorrt, device)
            if not check.passed:
                raise BuildError(_failure(direction, check, tensorrt))
        for engine in draft.manifest.chain(direction):
            draft = _with(draft, replace(engine, check={"gpu": device.gpu.name, **check.to_dict()}))
    return draft


def _check(direction: str, draft: StoredSet, bundle: Bundle, tensorrt: TensorRT, device: Device) -> Check:
    """Run one direction. What raises fails as well."""
    precisions = {each.precision for each in draft.manifest.chain(direction)}
    precision = next((name for name in precisions if name != FLOAT32), FLOAT32)
    run = check_encode if direction == "encode" else check_decode
    try:
        with (
            closing(TensorRTBackend(bundle, draft, tensorrt, device)) as candidate,
            closing(OnnxRuntimeBackend(bundle)) as reference,
        ):
            checks = []
            for batch, latents in _sizes(draft.manifest.identity.profile):
                # A stream is judged by what it carries through many pushes.
                pushes = -(-_STREAM_LATENTS // latents) if bundle.spec.states[direction] else 1
                checks.append(run(candidate, reference, bundle.spec, Calls(latents, pushes), precision, batch))
            return merged(checks)
    except ApcodecError as error:
        return Check(precision=precision, measured={}, problems=(str(error),))


def _sizes(profile: Profile) -> list[tuple[int, int]]:
    """Batches and latents that between them use every optimisation profile that any call can get."""
    found = []
    for index, (batch, latents) in enumerate(profile.shapes):
        middle = (latents.least + latents.usual) // 2
        lengths = (latents.usual, latents.usual - 1, middle, latents.least, latents.greatest)
        sizes = [(rows, length) for rows in (batch.usual, batch.greatest, batch.least) for length in lengths]
        fitting = [(rows, each) for rows, each in sizes if each in latents and profile.best(rows, each) == index]
        found += fitting[:1]
    return found


def _with(draft: StoredSet, engine: Engine) -> StoredSet:
    engines = tuple(engine if each.name == engine.name else each for each in draft.manifest.engines)
    return replace(draft, manifest=replace(draft.manifest, engines=engines))


def _failure(direction: str, check: Check, tensorrt: TensorRT) -> str:
    problems = "; ".join(check.problems)
    return f"{direction} in {check.precision} failed its check on this GPU with {tensorrt.title}: {problems}"
