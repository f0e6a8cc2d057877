"""Sets of engines for the simulated GPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gpu_simulator.building import simulated_set

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.engines.store import StoredSet


@pytest.fixture(scope="session")
def profile() -> Profile:
    """One clip of up to twenty latents, or up to three of exactly ten."""
    return Profile(
        name="tiny",
        shapes=(Shapes(Range(1, 1, 1), Range(1, 20, 20)), Shapes(Range(1, 3, 3), Range(10, 10, 10))),
        cuda_graphs=True,
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Path:
    """Engines of the embedded model in half precision, one per direction, which nobody may change."""
    return simulated_set(Bundle.embedded(), tmp_path_factory.mktemp("engines"), profile, precision="float16").path


@pytest.fixture
def stored(tmp_path: Path, built: Path) -> StoredSet:
    """The same, a test's own."""
    return StoredSet.open(shutil.copytree(built, tmp_path / "engines"))
