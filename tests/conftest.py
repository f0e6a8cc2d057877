"""What tests of several packages share: golden cases, clips, and models ready to run."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Test processes share the CPUs. Threads of PyTorch that wait for each other on busy CPUs take ten times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from crowd import Ends
from hypothesis import settings
from made_once import made_once
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import cache
from apcodec_deploy.backends.base import ONNXRUNTIME
from apcodec_deploy.backends.choice import CPU_VARIABLE
from apcodec_deploy.machine import give_back_memory

if TYPE_CHECKING:
    from apcodec_deploy import Codec
    from apcodec_export.checkpoint import Checkpoint
    from apcodec_export.network import NetworkConfig

settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
FAMILIES = {"grn": GOLDEN / "apcodec_48k_grn_tiny", "layerscale": GOLDEN / "apcodec_16k_layerscale_tiny"}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Ends())


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests and what they start leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _float32_on_cpus() -> Iterator[None]:
    """Tests compare with float32: ``auto`` takes it, though the faster OpenVINO is installed for its own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CPU_VARIABLE, ONNXRUNTIME)
        yield


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After each file, give freed memory back to the system, which the C library would keep.

    What outlives a file are modules and what the whole run shares. They are millions of objects, and looking through
    them after each file would take an eighth of the suite's time: they are kept out of later collections.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
        give_back_memory()


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example clips."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def speech(examples: Path) -> NDArray[np.float32]:
    """6.7 s of speech at 48 kHz."""
    audio, _ = soundfile.read(examples / "speech_female_48k.wav", dtype="float32")
    return np.asarray(audio, np.float32)


@pytest.fixture(scope="session")
def codec() -> Iterator[Codec]:
    """The embedded demo model."""
    with apcodec_deploy.load() as loaded:
        yield loaded


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Path:
    """The checkpoint directory of each golden family in turn, or of the one that a test names."""
    return FAMILIES[request.param]


@pytest.fixture(scope="session")
def clips(family: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """The golden clips of a family: arrays by name, by clip."""
    return {path.stem: dict(np.load(path)) for path in sorted(family.glob("*.npz"))}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The float32 graphs of both golden checkpoints, exported once per test run, by family."""
    # Two test processes begin at different ends, so that neither waits for what the other one exports.
    names = sorted(FAMILIES, reverse=os.environ.get("PYTEST_XDIST_WORKER", "").endswith("1"))
    return {name: exported(FAMILIES[name], tmp_path_factory) for name in names}


@pytest.fixture(scope="session")
def streamable_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small feed-forward streamable model of random weights at the published rates, in all precisions."""
    return _streamable(0, tmp_path_factory)


@pytest.fixture(scope="session")
def remembering_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with six frames of history, unproven and so without half precision."""
    return _streamable(6, tmp_path_factory)


_CHANNELS = {"amp": 14, "pha": 11}


def _streamable(context: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export it. All precisions take three times as long as float32 alone, and history twice as long as none."""
    from apcodec_export.checkpoint import random_checkpoint
    from apcodec_export.exporting import export_bundle
    from apcodec_export.network import PUBLISHED_48K, NetworkConfig, streamable

    numbers = {"dim": 12, "intermediate_dim": 20, "num_layers": 1, "latent_dim": 8, "codebook_dim": 8}
    channels = {
        f"{part}_{name}_channels": size for part in ("encoder", "decoder") for name, size in (("amp", 14), ("pha", 11))
    }
    network = streamable(NetworkConfig(**asdict(PUBLISHED_48K) | numbers | channels), context)

    def export(path: Path) -> None:
        export_bundle(random_checkpoint(network), path, name="Streamable", proven=not context)

    return made_once(f"streamable-{context}", export, tmp_path_factory)


def exported(directory: Path, tmp_path_factory: pytest.TempPathFactory, *, proven: bool = False) -> Path:
    """The bundle of a checkpoint directory, exported by the first test process that asks for it.

    Args:
        directory: Of the checkpoint.
        tmp_path_factory: The run's own.
        proven: Whether it is verified and has reduced precisions, which takes three times as long.
    """
    from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
    from apcodec_export.exporting import export_bundle
    from apcodec_export.graphs import graphs

    def export(path: Path) -> None:
        checkpoint = Checkpoint.load(CheckpointFiles.find(directory))
        export_bundle(checkpoint, path, made=None if proven else graphs(checkpoint), proven=proven)

    return made_once(f"{directory.name}-proven" if proven else directory.name, export, tmp_path_factory)


@pytest.fixture(scope="session")
def bundle(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float32 graphs of each golden family in turn, as a bundle."""
    return exported(family, tmp_path_factory)


@pytest.fixture(scope="session")
def proven_bundle(family: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of each golden family in turn, as users export it."""
    return exported(family, tmp_path_factory, proven=True)


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """The PyTorch checkpoint behind the embedded model."""
    return ROOT / "training" / "demo"


@pytest.fixture(scope="session")
def unpublished() -> NetworkConfig:
    """A small network of neither published family: 24 kHz, eight codebooks, ratio 4, unlike branches."""
    from apcodec_export.network import NetworkConfig

    return NetworkConfig(
        block="layer_scale",
        projections=True,
        sample_rate=24000,
        n_fft=256,
        win_size=120,
        hop_size=32,
        ratio=4,
        dim=16,
        intermediate_dim=24,
        num_layers=1,
        embed_kernel=5,
        depthwise_kernel=3,
        encoder_amp_channels=12,
        encoder_pha_channels=16,
        decoder_amp_channels=12,
        decoder_pha_channels=16,
        amp_down_kernel=5,
        pha_down_kernel=9,
        amp_up_kernel=8,
        pha_up_kernel=10,
        latent_output_kernel=3,
        latent_input_kernel=5,
        amp_output_kernel=3,
        real_output_kernel=5,
        imag_output_kernel=7,
        latent_dim=12,
        num_codebooks=8,
        codebook_size=48,
        codebook_dim=6,
    )


@pytest.fixture(scope="session")
def unpublished_grn(unpublished: NetworkConfig) -> Checkpoint:
    """Random weights for its sibling with GRN and without projections; every GRN has an effect."""
    import torch

    from apcodec_export.checkpoint import random_checkpoint
    from apcodec_export.model.layers import GlobalResponseNorm

    checkpoint = random_checkpoint(replace(unpublished, block="grn", projections=False, codebook_dim=12))
    generator = torch.Generator().manual_seed(1)
    for module in (*checkpoint.encoder.modules(), *checkpoint.decoder.modules()):
        if isinstance(module, GlobalResponseNorm):
            module.gamma.normal_(0, 1, generator=generator)
            module.beta.normal_(0, 1, generator=generator)
    return checkpoint


@pytest.fixture(scope="session")
def unpublished_bundle(unpublished_grn: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That checkpoint, exported once per test run, as users export it."""
    from apcodec_export.exporting import export_bundle

    return made_once("unpublished", lambda path: export_bundle(unpublished_grn, path, name="Sibling"), tmp_path_factory)
