"""Opus through libsndfile: aligned, of the bitrate that was asked for, and exactly as long as the clip."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.opus import Opus, opus, packets
from apcodec_deploy.errors import BenchmarkError, ContenderError


def at(kbps: float) -> Opus:
    return opus(Settings(threads=1, options={"kbps": kbps}))


def round_trip(codec: Opus, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return codec.download(codec.decode(codec.encode(codec.upload(audio))), audio.shape[1])


def snr(clip: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.sum(np.square(clip)) / np.sum(np.square(clip - decoded))))


def lag(clip: NDArray[np.float32], decoded: NDArray[np.float32]) -> int:
    """Samples by which the second one comes later, where the cross-correlation is largest."""
    size = 2 * len(clip)
    product = np.conj(np.fft.rfft(clip, size)) * np.fft.rfft(decoded, size)
    peak = int(np.argmax(np.fft.irfft(product, size)))
    return peak if peak < len(clip) else peak - size


@pytest.mark.parametrize(("kbps", "most_lag"), [(6, 24), (128, 0)])
def test_decoded_speech_is_aligned_with_the_clip(speech: NDArray[np.float32], kbps: float, most_lag: int) -> None:
    decoded = round_trip(at(kbps), speech[None])
    assert decoded.shape == (1, len(speech)) and decoded.dtype == np.float32
    # At 6 kbit/s the band ends at 4 kHz: a period of 12 samples, which bounds how sharply the peak can be placed.
    assert abs(lag(speech, decoded[0])) <= most_lag
    assert np.corrcoef(speech, decoded[0])[0, 1] > 0.95


@pytest.mark.parametrize("kbps", [6, 12, 24, 64])
def test_the_packets_take_about_the_bits_that_were_asked_for(speech: NDArray[np.float32], kbps: float) -> None:
    codec = at(kbps)
    files = codec.encode(speech[None])
    assert codec.facts.bitrate == 1000 * kbps
    assert codec.bits(files) / (len(speech) / 48_000) == pytest.approx(1000 * kbps, rel=0.1)
    assert codec.bits(files) < 8 * len(files[0])


def test_more_bits_sound_more_like_the_clip(speech: NDArray[np.float32]) -> None:
    found = [snr(speech, round_trip(at(kbps), speech[None])[0]) for kbps in (6, 32, 128)]
    assert found == sorted(found) and found[-1] > found[0] + 6


@pytest.mark.parametrize("samples", [1, 119, 959, 961, 48_001])
def test_any_length_comes_back_exactly(speech: NDArray[np.float32], samples: int) -> None:
    codec = at(6)
    decoded = codec.decode(codec.encode(speech[None, :samples]))
    assert [len(clip) for clip in decoded] == [samples]


def test_the_clips_of_a_batch_do_not_mix(speech: NDArray[np.float32]) -> None:
    codec = at(24)
    batch = np.stack([speech[:48_000], speech[96_000:144_000]])
    files = codec.encode(batch)
    decoded = codec.download(codec.decode(files), 48_000)
    np.testing.assert_array_equal(decoded, np.concatenate([round_trip(codec, batch[:1]), round_trip(codec, batch[1:])]))
    assert codec.bits(files) == codec.bits(files[:1]) + codec.bits(files[1:])


def test_what_is_downloaded_is_trimmed_or_followed_by_silence() -> None:
    clips = [np.arange(1, 4, dtype=np.float32)]
    assert at(6).download(clips, 2).tolist() == [[1, 2]]
    assert at(6).download(clips, 5).tolist() == [[1, 2, 3, 0, 0]]


def page(*segments: bytes) -> bytes:
    """An OGG page as RFC 3533 draws it; nobody here looks at its checksum."""
    header = b"OggS" + struct.pack("<BBqIII", 0, 0, 0, 1, 0, 0)
    return header + bytes([len(segments), *map(len, segments)]) + b"".join(segments)


def test_packets_are_joined_over_segments_and_pages() -> None:
    long = bytes(range(255))
    file = page(b"head") + page(b"tags") + page(b"one", long, b"two") + page(long) + page(long, b"", b"end")
    expected = [b"head", b"tags", b"one", long + b"two", long + long, b"end"]
    assert list(packets(file)) == expected
    assert at(6).bits([file, file]) == 2 * 8 * (3 + 258 + 510 + 3)


@pytest.mark.parametrize(
    "damaged",
    [page(b"head")[:-1], page(b"head")[:20], page(b"head") + b"RIFF" + bytes(40)],
    ids=["cut in a packet", "cut in a header", "something else behind"],
)
def test_a_damaged_file_has_no_bits(damaged: bytes) -> None:
    with pytest.raises(BenchmarkError, match="whole OGG file"):
        at(6).bits([damaged])


def test_its_facts_name_the_library_and_no_weights() -> None:
    facts = opus(Settings(threads=1)).facts
    assert (facts.sample_rate, facts.channels, facts.bitrate, facts.frame) == (48_000, 1, 6000, 960)
    assert facts.weights == "none" and facts.parameters is None
    assert facts.library.startswith("libopus ") and soundfile.__libsndfile_version__ in facts.library


@pytest.mark.parametrize("kbps", [5.9, 257, "6", True, float("nan")])
def test_bits_that_libsndfile_cannot_aim_at_are_an_error(kbps: object) -> None:
    with pytest.raises(BenchmarkError, match="6 to 256"):
        opus(Settings(threads=1, options={"kbps": kbps}))


def test_where_it_cannot_run_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContenderError, match="CPU"):
        opus(Settings(threads=1, device="cuda"))
    with pytest.raises(ContenderError, match="float16"):
        opus(Settings(threads=1, precision="float16"))
    monkeypatch.setattr(soundfile, "available_subtypes", lambda format: {"VORBIS": "Vorbis"})
    with pytest.raises(ContenderError, match="no Opus"):
        opus(Settings(threads=1))
