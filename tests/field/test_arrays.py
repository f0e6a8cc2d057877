"""Arrays as people have them: in half precision, and at the scale of the integers that they came in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from apcodec_deploy import AudioError, Codec
from apcodec_deploy.transcoding.conversion import ConversionOptions, convert

TONE = 0.25 * np.sin(np.arange(6000) / 20)


@pytest.mark.parametrize("kind", ["f2", "<f4", ">f4", "f8", "g"])
def test_floats_of_every_kind_are_coded_without_a_warning(codec: Codec, kind: str) -> None:
    audio = TONE.astype(np.float16).astype(kind)  # values that all kinds hold
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = codec.encode(audio)
    np.testing.assert_array_equal(found.codes, codec.encode(audio.astype(np.float32)).codes)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_what_is_not_finite_is_named(codec: Codec, bad: float, kind: type) -> None:
    audio = TONE.astype(kind)
    audio[77] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AudioError, match=f"sample 77 of channel 0 is {bad:g}, the first of 1"):
            codec.encode(audio)


@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        (np.float16, 1 << 15),
        (np.float32, 1 << 15),
        (np.float64, 1 << 15),
        (np.float32, 1 << 23),
        (np.float32, 1 << 31),
    ],
)
@pytest.mark.parametrize("level", [0.25, 1.0])
def test_integers_stored_as_floats_are_told_how_to_divide(codec: Codec, kind: type, scale: int, level: float) -> None:
    audio: NDArray[np.floating] = (TONE * 4 * level * (scale - 16)).astype(kind)
    with pytest.raises(AudioError, match=f"full scale is 1 here, at most 100: divide by {scale}$"):
        codec.encode(audio)


def test_what_only_clips_is_coded(codec: Codec) -> None:
    """24 dB above full scale happens in floats that were mixed; 40 dB is the most."""
    assert codec.encode(TONE * 4 * 16).codes.any()
    assert codec.encode(np.array([100.0, -100.0] * 50)).samples == 100
    with pytest.raises(AudioError, match="divide by 32768"):
        codec.encode(np.array([100.1, -100.0] * 50))
    with pytest.raises(AudioError, match="at most 100, with full scale at 1"):
        codec.encode(np.array([0.0, 1e300]))


def test_a_stream_is_refused_where_it_turns_loud(codec: Codec, tmp_path: Path) -> None:
    """Files of floats, and not from their first second on."""
    audio = np.concatenate((np.zeros(100_000), TONE * 32768)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 48_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: sample 1000\d\d of channel 0 .*divide by 32768"):
        convert(codec, tmp_path / "a.wav", tmp_path / "a.apc", ConversionOptions(form=None))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_integer_files_are_never_taken_for_that(codec: Codec, tmp_path: Path) -> None:
    for subtype in ("PCM_16", "PCM_24", "PCM_32"):
        soundfile.write(tmp_path / f"{subtype}.wav", np.sign(TONE) * 0.999, 48_000, subtype=subtype)
        target = tmp_path / f"{subtype}.apc"
        assert convert(codec, tmp_path / f"{subtype}.wav", target, ConversionOptions(form=None)).samples == 6000


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, bool, object, np.complex64])
def test_what_is_no_float_is_refused(codec: Codec, kind: type) -> None:
    with pytest.raises(AudioError, match=r"floats with full scale at 1 are expected \(int16 / 32768\)"):
        codec.encode((TONE * 100).astype(kind))


@pytest.mark.parametrize(
    "audio",
    [
        [[0.1, 0.2], [0.3]],
        torch.zeros(6000, requires_grad=True),
        torch.zeros(6000, dtype=torch.bfloat16),
        torch.zeros(1, 6000).to_sparse(),
    ],
    ids=["ragged", "gradient", "bfloat16", "sparse"],
)
def test_what_does_not_become_an_array_is_refused(codec: Codec, audio: Any) -> None:
    with pytest.raises(AudioError, match=r"cannot be made a numpy array \(.* tensor\.detach\(\)\.cpu\(\)") as caught:
        codec.encode(audio)
    assert type(audio).__name__ in str(caught.value)


@pytest.mark.parametrize("rate", ["48000", b"1", [48000], 48000.5, float("nan"), True])
def test_what_is_no_rate_is_refused(codec: Codec, rate: Any) -> None:
    with pytest.raises(AudioError, match=r"a sample rate of .* Hz; whole numbers from 1000 to 768000 are expected"):
        codec.encode(TONE, rate)
