"""The model behind the checkpoints of people's own making."""

from __future__ import annotations

import pytest
from field_checkpoints import NETWORK, State

from apcodec_export.checkpoint import Checkpoint, random_checkpoint


@pytest.fixture(scope="session")
def model() -> Checkpoint:
    return random_checkpoint(NETWORK)


@pytest.fixture(scope="session")
def states(model: Checkpoint) -> dict[str, State]:
    return {"encoder": dict(model.encoder.state_dict()), "decoder": dict(model.decoder.state_dict())}


@pytest.fixture(scope="session")
def others() -> dict[str, State]:
    """Of another model of the same shape."""
    other = random_checkpoint(NETWORK, seed=1)
    return {"encoder": dict(other.encoder.state_dict()), "decoder": dict(other.decoder.state_dict())}
