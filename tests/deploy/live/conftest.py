"""Models that sessions are tried with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import apcodec_deploy
from apcodec_deploy import Codec


@pytest.fixture(scope="module")
def live(streamable_bundle: Path) -> Iterator[Codec]:
    with apcodec_deploy.load(streamable_bundle, threads=1) as codec:
        yield codec


@pytest.fixture(scope="module")
def remembering(remembering_bundle: Path) -> Iterator[Codec]:
    with apcodec_deploy.load(remembering_bundle, threads=1) as codec:
        yield codec
