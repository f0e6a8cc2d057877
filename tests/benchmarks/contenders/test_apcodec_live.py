"""APCodec-S as a contender that codes live."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import HasSessions, Settings
from apcodec_deploy.errors import SessionError


def load(bundle: Path, **options: str) -> ApcodecContender:
    return ApcodecContender(Settings(threads=1, model=str(bundle), options=options))


def test_pushes_in_step_give_what_the_whole_gives_late_by_the_delay(
    streamable_bundle: Path, speech: NDArray[np.float32]
) -> None:
    subject = load(streamable_bundle, label="tiny")
    assert isinstance(subject, HasSessions)
    assert subject.facts.title == "APCodec-S, tiny, ONNX Runtime"
    assert subject.facts.latency == pytest.approx((320 + 280) / 48_000)
    audio = speech[30_000 : 30_000 + 2 * 320 * 12].reshape(2, -1)
    push = subject.sessions(2)
    heard = [push(block) for block in np.split(audio, [320, 960, 320 * 11], axis=1)]
    for row, clip in enumerate(audio):
        live = np.concatenate([each[row] for each in heard], axis=1)[0]
        assert len(live) == len(clip) - 280
        np.testing.assert_array_equal(live, subject.codec.decode(subject.codec.encode(clip))[: len(live)])


def test_a_model_that_is_not_causal_has_no_sessions() -> None:
    subject = ApcodecContender(Settings(threads=1))
    assert subject.facts.latency is None
    with pytest.raises(SessionError, match="apcodec-s"):
        subject.sessions(1)


def test_the_title_tells_the_precision(streamable_bundle: Path) -> None:
    assert load(streamable_bundle, precision="int8").facts.title == "APCodec-S, ONNX Runtime int8"
