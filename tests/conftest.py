"""What tests of several packages share: golden cases, clips, and models ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import settings
from numpy.typing import NDArray

import apcodec_deploy

if TYPE_CHECKING:
    from apcodec_deploy import Codec

settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden"
FAMILIES = {"grn": GOLDEN / "apcodec_48k_grn_tiny", "layerscale": GOLDEN / "apcodec_16k_layerscale_tiny"}


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
    """The checkpoint directory of each golden family in turn."""
    return FAMILIES[request.param]


@pytest.fixture(scope="session")
def clips(family: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """The golden clips of a family: arrays by name, by clip."""
    return {path.stem: dict(np.load(path)) for path in sorted(family.glob("*.npz"))}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both golden checkpoints, exported once per test run, by family."""
    from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
    from apcodec_export.exporting import export_bundle

    made = {}
    for name, directory in FAMILIES.items():
        made[name] = tmp_path_factory.mktemp("bundles") / name
        export_bundle(Checkpoint.load(CheckpointFiles.find(directory)), made[name])
    return made


@pytest.fixture(scope="session")
def bundle(family: Path, bundles: dict[str, Path]) -> Path:
    """The exported bundle of each golden family in turn."""
    return next(bundles[name] for name, directory in FAMILIES.items() if directory == family)


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """The PyTorch checkpoint behind the embedded model."""
    return ROOT / "training" / "demo"
