"""Encodec and Mimi as streams: what a push depends on, and that pushes of any size give one and the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import nn

from apcodec_benchmarks.contenders import huggingface
from apcodec_benchmarks.contenders.base import HasSessions, Settings
from apcodec_benchmarks.contenders.catalogue import entries_named
from apcodec_deploy.errors import ContenderError

HOP = 320
MIMI_WIDTHS = {
    "hidden_size": 32, "num_filters": 4, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "codebook_dim": 16,
    "vector_quantization_hidden_dimension": 16, "upsample_groups": 32,
}  # fmt: skip
Load = Callable[[str], Any]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Those of the catalogue with the published strides and kernels, but few channels."""
    for variant, (name, numbers) in huggingface._ENCODEC.items():
        monkeypatch.setitem(huggingface._ENCODEC, variant, (name, {**numbers, "num_filters": 2, "hidden_size": 8}))
    config = transformers.MimiConfig
    monkeypatch.setattr(transformers, "MimiConfig", lambda: config(**MIMI_WIDTHS))  # type: ignore[arg-type]

    def load(name: str) -> Any:
        (entry,) = entries_named([name])
        return entry.make(Settings(threads=1, options=entry.options))

    threads = torch.get_num_threads()
    yield load
    torch.set_num_threads(threads)


def noise(count: int, samples: int) -> NDArray[np.float32]:
    return (0.3 * np.random.default_rng(samples).standard_normal((count, samples))).astype(np.float32)


class _NoLstm(nn.Module):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def test_the_reach_of_encodecs_convolutions_is_what_their_output_depends_on(narrow: Load) -> None:
    codec = narrow("encodec-24k")
    layers = codec.model.encoder.layers
    for place, layer in enumerate(layers):
        if type(layer).__name__ == "EncodecLSTM":
            layers[place] = _NoLstm()
    audio = torch.from_numpy(noise(1, 16 * HOP))[None].requires_grad_()
    codec.model.encoder(audio)[0, :, 12].sum().backward()
    assert audio.grad is not None
    heard = audio.grad[0, 0].nonzero()[:, 0] // HOP
    assert (int(heard.min()), int(heard.max())) == (12 - codec.reach, 12)


@pytest.mark.parametrize("name", ["encodec-24k", "mimi"])
def test_a_push_gives_as_many_samples_of_each_stream_as_it_got(narrow: Load, name: str) -> None:
    codec = narrow(name)
    assert isinstance(codec, HasSessions)
    frame = codec.facts.frame
    assert codec.facts.latency == frame / 24_000
    push = codec.sessions(2)
    for count in (1, 2, 1):
        heard = push(noise(2, count * frame))
        assert heard.shape == (2, count * frame) and np.isfinite(heard).all()


def test_encodecs_pushes_of_one_frame_or_of_two_sound_alike(narrow: Load) -> None:
    """Where its LSTMs begin anew differs with the size of the pushes, and is little heard after so many frames."""
    codec, audio = narrow("encodec-24k"), noise(1, 24 * HOP)
    by_one, by_two = codec.sessions(1), codec.sessions(1)
    one = np.concatenate([by_one(block) for block in np.split(audio, 24, axis=1)], axis=1)
    two = np.concatenate([by_two(block) for block in np.split(audio, 12, axis=1)], axis=1)
    np.testing.assert_allclose(one[:, HOP:], two[:, HOP:], atol=0.2 * np.abs(two).max())


def test_mimis_encoder_goes_on_where_it_was(narrow: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = narrow("mimi")
    audio = noise(1, 4 * codec.facts.frame)
    whole = codec.codes(codec.encode(codec.upload(audio)))
    found: list[NDArray[np.int64]] = []
    decode = codec.model.decode

    def watched(codes: torch.Tensor, **options: Any) -> Any:
        found.append(codes.numpy())
        return decode(codes, **options)

    monkeypatch.setattr(codec.model, "decode", watched)
    push = codec.sessions(1)
    for block in np.split(audio, 4, axis=1):
        push(block)
    np.testing.assert_array_equal(np.concatenate(found, axis=2), whole)


def test_what_is_not_causal_has_no_sessions(narrow: Load) -> None:
    codec = narrow("encodec-48k")
    assert codec.facts.latency is None
    with pytest.raises(ContenderError, match="not causal"):
        codec.sessions(1)
