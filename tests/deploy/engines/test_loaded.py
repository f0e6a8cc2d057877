"""Loading an engine: what TensorRT refuses, and what disagrees with the manifest, is said before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gpu_simulator.cuda import Cuda
from gpu_simulator.library import Library
from gpu_simulator.tensorrt import TensorRTModule

from apcodec_deploy.cuda.pycuda_device import PycudaDevice
from apcodec_deploy.engines.flavour import FLAVOURS, TensorRT
from apcodec_deploy.engines.loaded import LoadedEngine
from apcodec_deploy.engines.manifest import Binding, Engine
from apcodec_deploy.engines.store import StoredSet
from apcodec_deploy.errors import BackendError, EngineError


class Loader:
    def __init__(self, stored: StoredSet) -> None:
        cuda = Cuda()
        self.device = PycudaDevice(cuda, Library(cuda), 0)
        self.tensorrt = TensorRT(FLAVOURS["tensorrt"], TensorRTModule(cuda))
        (self.engine,) = stored.manifest.chain("encode")
        self.data = stored.read(self.engine)
        with self.device.active():
            self.runtime = self.tensorrt.runtime()

    def load(self, engine: Engine | None = None, data: bytes | None = None) -> LoadedEngine:
        return self.load_on(self.tensorrt.runtime(), engine, data)

    def load_on(self, runtime: Any, engine: Engine | None = None, data: bytes | None = None) -> LoadedEngine:
        return LoadedEngine(self.tensorrt, runtime, engine or self.engine, data or self.data, graphs=False)


@pytest.fixture
def loader(stored: StoredSet) -> Iterator[Loader]:
    made = Loader(stored)
    with made.device.active():
        yield made


def changed(engine: Engine, tensor: str, **values: Any) -> Engine:
    bindings = tuple(replace(each, **values) if each.name == tensor else each for each in engine.bindings)
    return replace(engine, bindings=bindings)


def test_what_tensorrt_cannot_read_is_refused_with_its_reason(loader: Loader) -> None:
    with pytest.raises(EngineError, match=r"cannot load the engine encode: Serialization assertion .*build it again"):
        loader.load(data=b"ftrt nonsense")


@pytest.mark.parametrize(
    ("tensor", "values"),
    [
        ("audio", {"dtype": "int32"}),
        ("audio", {"output": True}),
        ("audio", {"name": "sound"}),
        ("codes", {"dims": ("batch", 8, "latents")}),
        ("codes", {"dims": ("batch", "latents")}),
    ],
)
def test_bindings_other_than_the_manifest_says_are_refused(loader: Loader, tensor: str, values: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=r"its manifest says .*build it again"):
        loader.load(changed(loader.engine, tensor, **values))


def test_bindings_beyond_the_manifest_are_refused(loader: Loader) -> None:
    with pytest.raises(EngineError, match="also has codes"):
        loader.load(replace(loader.engine, bindings=loader.engine.bindings[:1]))


def test_shapes_outside_the_profile_are_refused_with_tensorrts_reason(loader: Loader) -> None:
    context = loader.load().context()
    context.select(0, loader.device.stream())
    with pytest.raises(BackendError, match=r"did not take audio of \(1, 9999999\) in encode: audio of .* is outside"):
        context.reshape({"batch": 1, "samples": 9_999_999, "latents": 31_250})


def test_output_shapes_that_tensorrt_derives_otherwise_are_refused(loader: Loader) -> None:
    context = loader.load().context()
    context.select(0, loader.device.stream())
    with pytest.raises(BackendError, match=r"gives codes of \(1, 4, 20\); \(1, 4, 19\) is expected"):
        context.reshape({"batch": 1, "samples": 6399, "latents": 19})


def test_a_profile_that_does_not_exist_is_refused(loader: Loader) -> None:
    with pytest.raises(BackendError, match="did not switch to optimisation profile 7"):
        loader.load().context().select(7, loader.device.stream())


@pytest.mark.parametrize("error", [TypeError("factory function returned nullptr"), RuntimeError("CUDA too old")])
def test_what_tensorrts_bindings_raise_becomes_ours(loader: Loader, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    loader.tensorrt.trt.Runtime = fail
    with pytest.raises(BackendError, match=f"did not start: {error}"):
        loader.tensorrt.runtime()
    context = loader.load_on(loader.runtime).context()
    context.select(0, loader.device.stream())
    context._context.infer_shapes = fail
    with pytest.raises(BackendError, match=f"did not derive the shapes of encode: {error}"):
        context.reshape({"batch": 1, "samples": 6399, "latents": 20})


def test_a_reason_is_that_of_the_call_at_hand(loader: Loader) -> None:
    loader.tensorrt.logger.log(loader.tensorrt.trt.ILogger.Severity.ERROR, "another engine's")
    with pytest.raises(BackendError, match="profile 7 in encode: it gave no reason"):
        loader.load().context().select(7, loader.device.stream())


def test_every_binding_of_the_manifest_has_a_known_type(stored: StoredSet) -> None:
    bindings: list[Binding] = [each for engine in stored.manifest.engines for each in engine.bindings]
    assert {each.dtype for each in bindings} == {"float32", "int32"}
