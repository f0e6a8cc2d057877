"""A streamable model through all that codes files: one stream, exact lengths, the same bits however it is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import apcodec
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import Result

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.backends.base import Backend, Carried
from apcodec_deploy.backends.onnxruntime import OnnxRuntimeBackend
from apcodec_deploy.backends.openvino import open_openvino
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.editing import concatenated, sliced
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import ApcodecError, BackendError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.processor import this_processor
from apcodec_deploy.streams import StreamLayout

Array = NDArray[Any]
UNIT, DELAY = 320, 280
RATES = [8_000, 22_050, 44_100, 48_000, 96_000]


def invoke(*arguments: object) -> Result:
    result = apcodec(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(
    scope="module",
    params=["streamable_bundle", pytest.param("proven_remembering_bundle", marks=pytest.mark.slow)],
    ids=["context 0", "context 6"],
)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return Bundle.open(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def streaming(bundle: Bundle) -> Iterator[Codec]:
    with apcodec_deploy.load(bundle.path, "onnxruntime", device="cpu", threads=1) as codec:
        yield codec


def pushed(backend: Backend, direction: str, rows: Array, unit: int, sizes: list[int]) -> Array:
    """A stream in calls of so many tokens, in turn."""
    states: tuple[Carried, ...] = ()
    made, start, call = [], 0, 0
    while start < rows.shape[-1] // unit:
        stop = min(start + sizes[call % len(sizes)], rows.shape[-1] // unit)
        result, states = backend.push(direction, np.ascontiguousarray(rows[..., start * unit : stop * unit]), states)
        made.append(result)
        start, call = stop, call + 1
    return np.concatenate(made, axis=-1)


def on_onnxruntime(bundle: Bundle, precision: str, threads: int) -> Backend:
    return OnnxRuntimeBackend(bundle, precision=precision, threads=threads)


def on_openvino(bundle: Bundle, precision: str, threads: int) -> Backend:
    return open_openvino(bundle, precision=precision, threads=threads, unproven=True)


whole_processor = pytest.mark.skipif(
    this_processor().limit != "" and "avx512f" in this_processor().flags,
    reason="OpenVINO makes code for AVX-512 of odd widths even where ONEDNN_MAX_CPU_ISA hides that",
)


@pytest.mark.parametrize("opened", [on_onnxruntime, pytest.param(on_openvino, marks=whole_processor)])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_calls_threads_and_batch_mates_change_no_bit(
    bundle: Bundle, speech: Array, precision: str, opened: Callable[[Bundle, str, int], Backend]
) -> None:
    tokens = 611
    audio = np.stack([speech[20_000:][: tokens * UNIT], speech[: tokens * UNIT], 8 * speech[-tokens * UNIT :]])
    one, two = (opened(bundle, precision, threads) for threads in (1, 2))
    codes = pushed(one, "encode", audio[:1], UNIT, [tokens])
    sound = pushed(one, "decode", codes, 1, [tokens])
    for sizes in ([1], [2], [3], [7], [16], [600]):
        part = 64 if sizes[0] < 64 else tokens
        for backend in (one, two):
            assert np.array_equal(pushed(backend, "encode", audio[:1, : part * UNIT], UNIT, sizes), codes[:, :, :part])
            assert np.array_equal(pushed(backend, "decode", codes[:, :, :part], 1, sizes), sound[:, : part * UNIT])
    mates = pushed(two, "encode", audio, UNIT, [50])
    assert np.array_equal(mates[:1], codes)
    assert np.array_equal(pushed(two, "decode", mates, 1, [33])[:1], sound)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_no_code_hears_what_comes_after_it(bundle: Bundle, speech: Array, precision: str) -> None:
    backend, tokens = OnnxRuntimeBackend(bundle, precision=precision, threads=1), 12
    audio = speech[None, 30_000:][:, : tokens * UNIT]
    codes = backend.encode(audio)
    for token in range(tokens):
        changed = audio.copy()
        changed[:, UNIT * token + UNIT :] = 0.5
        assert np.array_equal(backend.encode(changed)[:, :, : token + 1], codes[:, :, : token + 1])
    sound = backend.decode(codes)[:, DELAY:]
    for token in range(1, tokens):
        changed = codes.copy()
        changed[:, :, token] = (changed[:, :, token] + 1) % 1024
        differing = np.flatnonzero(backend.decode(changed)[0, DELAY:] != sound[0])
        assert differing[0] == UNIT * token - DELAY + 1


def test_every_length_comes_back(streaming: Codec, speech: Array) -> None:
    for samples in [*range(1, 50), *range(300, 380), *range(640, 700), 1999, 2000]:
        encoded = streaming.encode(speech[:samples])
        assert encoded.codes.shape[2] == -(-(samples + DELAY) // UNIT)
        assert streaming.decode(encoded).shape == (samples,)


@settings(max_examples=15, deadline=None)
@given(
    samples=st.integers(1, 30_000),
    rate=st.sampled_from([8_000, 22_050, 44_100, 48_000, 96_000]),
    channels=st.integers(1, 3),
)
def test_any_rate_and_channels_come_back(streaming: Codec, samples: int, rate: int, channels: int) -> None:
    audio = np.random.default_rng(samples).standard_normal((channels, samples)).astype(np.float32) / 10
    decoded = streaming.decode(streaming.encode(audio, rate))
    assert decoded.shape == audio.shape and np.isfinite(decoded).all()
    alone = streaming.decode(streaming.encode(audio[-1:], rate))
    assert np.array_equal(alone, decoded[-1:]), "a channel depends on no other"


def test_the_delay_is_made_up_for_and_the_end_is_sound(streaming: Codec, speech: Array) -> None:
    """Decoding starts at the clip's first sample, which is sample ``delay`` of the raw stream, and ends at its last."""
    audio = speech[:10_000]
    encoded = streaming.encode(audio)
    raw = streaming.backend.decode(encoded.codes.astype(np.int32))[0]
    decoded = streaming.decode(encoded)
    assert np.array_equal(decoded, raw[DELAY : DELAY + len(audio)])
    assert np.abs(decoded[-100:]).min() > 0


def test_blocks_of_any_size_and_batches_give_the_same_codes(streaming: Codec, speech: Array) -> None:
    expected = streaming.encode(speech[:60_000])
    cuts = np.cumsum([1, 700, 33_000, 320, 9_000])
    blocks = np.split(speech[None, :60_000], cuts, axis=1)
    made = list(streaming.encode_stream(iter(blocks), 48_000, streaming.layout()))
    assert np.array_equal(np.concatenate(made, axis=2), expected.codes)
    first, second = streaming.encode_batch([speech[:60_000], speech[:777]])
    assert np.array_equal(first.codes, expected.codes)
    assert np.array_equal(second.codes, streaming.encode(speech[:777]).codes)
    together = streaming.decode_batch([first, second])
    assert np.array_equal(together[0], streaming.decode(first)) and together[1].shape == (777,)


def test_files_are_one_stream_and_say_so(streaming: Codec, speech: Array, tmp_path: Path) -> None:
    encoded = streaming.encode(speech)
    encoded.save(tmp_path / "a.apc")
    again = EncodedAudio.load(tmp_path / "a.apc")
    assert again.header.layout == StreamLayout(DELAY) and np.array_equal(again.codes, encoded.codes)
    with pytest.raises(ApcodecError, match="this model has no windows"):
        streaming.encode(speech, window=1.0)


def test_only_the_end_of_a_stream_fades_where_another_one_follows(
    streaming: Codec, speech: Array, tmp_path: Path
) -> None:
    first, second = streaming.encode(speech[:6400]), streaming.encode(speech[30_000:36_000])
    joined = streaming.decode(concatenated([first, second]))
    alone = streaming.decode(first)
    assert np.array_equal(joined[: 6400 - DELAY], alone[:-DELAY])
    assert not np.array_equal(joined[6400 - DELAY : 6400], alone[-DELAY:])
    for name, clip in (("a", first), ("b", second), ("start", sliced(first, 0, 0.1)), ("rest", sliced(first, 0.1))):
        clip.save(tmp_path / f"{name}.apc")
    told = invoke("concat", tmp_path / "a.apc", tmp_path / "b.apc", "-o", tmp_path / "ab.apc")
    assert "fades out over its last 280 samples" in told.stderr
    quiet = invoke("concat", tmp_path / "start.apc", tmp_path / "rest.apc", "-o", tmp_path / "again.apc")
    assert quiet.stderr == "" and np.array_equal(EncodedAudio.load(tmp_path / "again.apc").codes, first.codes)


def test_the_commands_work_as_for_other_models(bundle: Bundle, speech: Array, tmp_path: Path) -> None:
    model = ["--model", str(bundle.path), "--backend", "onnxruntime"]
    soundfile.write(tmp_path / "a.wav", speech[:40_001], 48_000)
    invoke("encode", tmp_path / "a.wav", *model)
    assert "one stream, decoded 280 samples late" in invoke("inspect", tmp_path / "a.wav.apc").stdout
    invoke("decode", tmp_path / "a.wav.apc", "-o", tmp_path / "b.wav", *model)
    assert soundfile.info(tmp_path / "b.wav").frames == 40_001
    part = invoke("slice", tmp_path / "a.wav.apc", "-o", tmp_path / "part.apc", "--start", "0.2", "--end", "0.5")
    assert "the first frames after a cut are decoded without what was before them" in part.stderr
    cut = EncodedAudio.load(tmp_path / "part.apc")
    assert cut.samples == 14_400 and cut.codes.shape[2] == -(-(14_400 + DELAY) // UNIT)
    out = tmp_path / "out"
    invoke("transcode", tmp_path / "a.wav", out, "--to", "apc", *model)
    invoke("verify", out, *model)
    invoke("pack", out, tmp_path / "shards")
    assert "one stream" in invoke("inspect", bundle.path).stdout


def test_a_bundle_says_what_a_program_must_know(streamable_bundle: Path) -> None:
    bundle = Bundle.open(streamable_bundle)
    assert isinstance(bundle.spec, StreamSpec)
    stream = bundle.manifest["stream"]
    assert (stream["samples_per_push"], stream["delay_samples"], stream["latency_samples"]) == (320, 280, 600)
    assert (stream["frame_ms"], stream["latency_ms"]) == (6.667, 12.5)
    assert stream["state"]["encode"] == {"audio_tail": {"shape": [280], "dtype": "float32", "start": 0}}
    for verified in (bundle.manifest["verification"], bundle.variant("int8")):
        assert verified["calls_of_other_sizes"]["equal_to_the_bit"] is True
    assert bundle.precisions == ("float32", "int8")
    shown = invoke("inspect", streamable_bundle).stdout
    assert "calls_of_other_sizes int8" in shown and shown.count("equal to the bit (onnxruntime") == 2


@whole_processor
def test_openvino_runs_streams(streamable_bundle: Path, speech: Array) -> None:
    reference = apcodec_deploy.load(streamable_bundle, "onnxruntime", device="cpu")
    expected = reference.encode(speech[:50_000])
    for precision, share in (("float32", 0.97), ("int8", 0.75)):
        with apcodec_deploy.load(streamable_bundle, "openvino", precision=precision, threads=1) as codec:
            found = codec.encode(speech[:50_000])
            assert np.array_equal(found.codes, codec.encode(speech[:50_000]).codes)
            assert (found.codes == expected.codes).mean() > share
            assert codec.decode(found).shape == (50_000,)
    with pytest.raises(BackendError, match="transforms and code search in the graphs"):
        apcodec_deploy.load(streamable_bundle, "openvino", precision="bfloat16")
