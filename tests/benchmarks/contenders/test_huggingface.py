"""Encodec, DAC and Mimi with random weights: lengths, batches, bitrates, folding, and where weights come from."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from apcodec_benchmarks.contenders import huggingface
from apcodec_benchmarks.contenders.base import HasCodes, Settings
from apcodec_benchmarks.contenders.catalogue import entries_named
from apcodec_deploy.errors import ContenderError

pytestmark = pytest.mark.slow  # the models have their published sizes

NAMES = ("encodec-24k", "encodec-48k", "dac-44k", "dac-24k", "dac-16k", "mimi")
# Rate in Hz, channels, samples per frame, codebooks and bits of each: the papers and the published configurations.
PUBLISHED = {
    "encodec-24k": (24_000, 1, 320, 8, 10),
    "encodec-48k": (48_000, 2, 320, 4, 10),
    "dac-44k": (44_100, 1, 512, 7, 10),
    "dac-24k": (24_000, 1, 320, 8, 10),
    "dac-16k": (16_000, 1, 320, 12, 10),
    "mimi": (24_000, 1, 1920, 8, 11),
}
PARAMETERS = {"encodec-24k": 14.9e6, "dac-44k": 76e6, "mimi": 79.3e6}
CHUNK, STRIDE = 48_000, 47_520
"""Of Encodec at 48 kHz: one second, and one second less an overlap of 1 %."""
LOUD = 300.0
"""Random weights hardly hear what is no louder than audio; their codes differ only where it is."""

Load = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[object]]:
    """Neither weights nor a network; gives what the network was asked for. The process is left as it was."""
    asked: list[object] = []

    def refuse(*request: object, **options: object) -> NoReturn:
        asked.append(request)
        raise OSError("the network is not for tests")

    threads, verbosity = torch.get_num_threads(), transformers.logging.get_verbosity()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        for switch in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
            patch.setattr(huggingface_hub.constants, switch, False)
        yield asked
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity(verbosity)
    transformers.logging.enable_progress_bar()


def load_by_name(name: str, **settings: Any) -> Any:
    (entry,) = entries_named([name])
    return entry.make(Settings(threads=1, options=entry.options, **settings))


@pytest.fixture(scope="module")
def load() -> Load:
    """A contender of the catalogue in its full size, each made once."""
    return functools.cache(load_by_name)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Encodec and DAC with the published strides and kernels, but few channels, so that audio passes quickly."""
    for table, widths in (
        (huggingface._ENCODEC, {"num_filters": 2, "hidden_size": 8}),
        (huggingface._DAC, {"encoder_hidden_size": 4, "decoder_hidden_size": 32}),
    ):
        for variant, (name, numbers) in table.items():
            monkeypatch.setitem(table, variant, (name, {**numbers, **widths}))
    return load_by_name


def noise(count: int, samples: int, level: float = 0.1) -> NDArray[np.float32]:
    return (level * np.random.default_rng(samples).standard_normal((count, samples))).astype(np.float32)


def coded(codec: Any, audio: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Codes (B, Q, L) and what is decoded from them (B, N)."""
    handle = codec.encode(codec.upload(audio))
    decoded: NDArray[np.float32] = codec.download(codec.decode(handle), audio.shape[1])
    return codec.codes(handle), decoded


def silent_end(audio: NDArray[np.float32]) -> int:
    """Samples of a clip (N,) after its last one that is not zero."""
    return len(audio) - len(np.trim_zeros(audio, "b"))


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_those_of_the_published_model(load: Load, name: str, requests: list[object]) -> None:
    codec = load(name)
    assert not requests  # without --trained nobody is asked for weights
    assert isinstance(codec, HasCodes)
    rate, channels, frame, codebooks, bits = PUBLISHED[name]
    facts = codec.describe()
    assert (facts.sample_rate, facts.channels, facts.frame) == (rate, channels, frame)
    assert facts.bitrate == pytest.approx(rate / frame * codebooks * bits)
    assert (facts.weights, facts.precision, facts.device) == ("random", "float32", "cpu")
    assert f"{rate / 1000:g} kHz" in facts.title
    if name in PARAMETERS:
        assert facts.parameters == pytest.approx(PARAMETERS[name], rel=0.01)
    codes, _ = coded(codec, noise(1, 2 * frame))
    assert codes.dtype == np.int64 and codes.shape == (1, codebooks, 2)
    assert codes.min() >= 0 and codes.max() < 2**bits


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_of_any_length_comes_back_as_long_as_it_was(narrow: Load, name: str) -> None:
    codec = narrow(name)
    frame = codec.facts.frame
    for samples in (1, frame - 1, frame, frame + 1, 3 * frame + 7):
        codes, decoded = coded(codec, noise(2, samples))
        assert codes.shape[2] == -(-samples // frame), samples
        assert decoded.shape == (2, samples)
        assert np.isfinite(decoded).all()
        # DAC's decoder with a stride of 5 gives 8 samples less than it has frames for.
        assert max(map(silent_end, decoded)) <= (8 if name in ("dac-24k", "dac-16k") and samples > 8 else 0), samples


@pytest.mark.parametrize("name", NAMES)
def test_clips_of_a_batch_get_what_each_gets_alone(narrow: Load, name: str) -> None:
    codec = narrow(name)
    batch = noise(2, 5 * codec.facts.frame + 11, LOUD)
    codes, decoded = coded(codec, batch)
    assert (codes[0] != codes[1]).mean() > 0.5
    for row, clip in enumerate(batch):
        own_codes, own = coded(codec, clip[None])
        assert (own_codes[0] == codes[row]).mean() >= 0.95  # in a near-tie another order of summing decides
        if np.array_equal(own_codes[0], codes[row]):
            np.testing.assert_allclose(own[0], decoded[row], atol=1e-4 * np.abs(decoded).max())
    assert np.abs(decoded[0] - decoded[1]).max() > 1e-3 * np.abs(decoded).max()


@pytest.mark.parametrize(
    "samples",
    [
        *(CHUNK // 2, STRIDE - 1, STRIDE, STRIDE + 1, STRIDE + 160, STRIDE + 161, STRIDE + 320, STRIDE + 321),
        *(CHUNK - 1, CHUNK, CHUNK + 1, 48_480, 110_400),
        *(2 * STRIDE + rest for rest in (0, 1, 160, 161, 320, 321, 479, 480, 481)),
    ],
)
def test_chunks_of_encodec_at_48_khz_are_joined_whatever_is_left_for_the_last(narrow: Load, samples: int) -> None:
    codec, clip = narrow("encodec-48k"), noise(1, samples)
    codes, decoded = coded(codec, clip)
    assert decoded.shape == clip.shape and np.isfinite(decoded).all() and silent_end(decoded[0]) == 0
    chunks = -(-samples // STRIDE)
    last = samples - (chunks - 1) * STRIDE
    # A last chunk that adds nothing to the one before is extended to the overlap.
    columns = (chunks - 1) * 150 + -(-(max(last, CHUNK - STRIDE) if chunks > 1 else last) // 320)
    assert codes.shape == (1, 4, columns)
    if samples >= CHUNK:  # the bitrate is that of a chunk: overlaps add 1 %
        np.testing.assert_array_equal(codes[:, :, :150], coded(codec, clip[:, :CHUNK])[0][:, :, :150])


@pytest.mark.processor
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["encodec-24k", "encodec-48k", "dac-16k"])
def test_half_precision_decodes_to_about_the_same(narrow: Load, name: str, precision: str) -> None:
    codec, exact, audio = narrow(name, precision=precision), narrow(name), noise(1, 9000)
    handle = exact.encode(exact.upload(audio))
    if name == "encodec-48k":
        handle.audio_scales = [each.to(codec.dtype) for each in handle.audio_scales]
    decoded, expected = (each.download(each.decode(handle), 9000) for each in (codec, exact))
    assert decoded.dtype == np.float32
    # Rounding is a noise, whose largest sample is chance and differs between processors.
    noise_share = np.sqrt(np.square(decoded - expected).mean() / np.square(expected).mean())
    assert noise_share <= {"float16": 0.004, "bfloat16": 0.03}[precision]
    assert np.isfinite(coded(codec, audio)[1]).all()
    assert codec.facts.precision == precision
    assert {each.dtype for each in codec.model.parameters()} == {getattr(torch, precision)}


@pytest.mark.parametrize("name", NAMES)
def test_random_codebooks_hold_something(load: Load, name: str) -> None:
    model = load(name).model
    books = [each.codebook for each in model.modules() if hasattr(each, "codebook")]
    assert len(books) >= PUBLISHED[name][3]
    for book in books:
        entries = book.weight if isinstance(book, nn.Embedding) else book.embed
        assert entries.shape[0] == 2 ** PUBLISHED[name][4]
        assert (entries.std(dim=1) > 0).all()


@pytest.fixture
def unfolded(narrow: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Encodec at 24 kHz whose weights are normalised at every call."""
    with monkeypatch.context() as patch:
        patch.setattr(huggingface, "_fold_weight_norm", lambda model: None)
        return narrow("encodec-24k")


def test_folding_weight_norm_changes_no_output(narrow: Load, unfolded: Any) -> None:
    folded, audio = narrow("encodec-24k"), noise(2, 4001, LOUD)
    codes, decoded = coded(folded, audio)
    expected_codes, expected = coded(unfolded, audio)
    assert len(np.unique(codes)) > 10
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_allclose(decoded, expected, atol=1e-6)
    latent = folded.model.encoder(torch.from_numpy(audio)[:, None])
    np.testing.assert_allclose(latent, unfolded.model.encoder(torch.from_numpy(audio)[:, None]), rtol=1e-4, atol=1e-5)


def test_folded_weights_are_parameters(narrow: Load, unfolded: Any) -> None:
    folded = narrow("encodec-24k").model
    normalised = [name for name, each in unfolded.model.named_modules() if parametrize.is_parametrized(each)]
    assert len(normalised) > 20
    for name in normalised:
        module, before = folded.get_submodule(name), unfolded.model.get_submodule(name)
        assert type(module) in (nn.Conv1d, nn.ConvTranspose1d)
        assert set(dict(module.named_parameters(recurse=False))) == {"weight", "bias"}
        assert not dict(module.named_buffers())
        np.testing.assert_allclose(module.weight, before.weight, rtol=1e-6)
    assert not any(each.requires_grad for each in folded.parameters())


def test_weights_are_folded_before_they_are_rounded(narrow: Load) -> None:
    exact, rounded = (narrow("encodec-24k", precision=each).model for each in ("float32", "float16"))
    for (name, weight), half in zip(exact.named_parameters(), rounded.parameters(), strict=True):
        assert torch.equal(weight.half(), half), name


def test_weights_that_are_here_are_taken(narrow: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, numbers = huggingface._ENCODEC["24k"]
    torch.manual_seed(5)
    saved = transformers.EncodecModel(transformers.EncodecConfig(**numbers)).eval()
    with torch.no_grad():
        for name, buffer in saved.named_buffers():
            if name.endswith(".embed"):
                buffer.normal_()
    saved.save_pretrained(tmp_path)
    guessed = narrow("encodec-24k")
    monkeypatch.setitem(huggingface._ENCODEC, "24k", (str(tmp_path), {}))
    codec, audio = narrow("encodec-24k"), noise(1, 2500, LOUD)
    assert (guessed.facts.weights, codec.facts.weights) == ("random", "trained")
    assert codec.describe().weights_hash != guessed.describe().weights_hash
    with torch.inference_mode():
        expected = saved(torch.from_numpy(audio)[:, None], bandwidth=6.0)
    codes, decoded = coded(codec, audio)
    np.testing.assert_array_equal(codes, expected.audio_codes[0])
    np.testing.assert_allclose(decoded, expected.audio_values[0, :, :2500], atol=1e-6)


@pytest.mark.parametrize("name", ["encodec-24k", "dac-44k", "mimi"])
def test_weights_that_cannot_be_had_are_an_error_of_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, requests: list[object]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ContenderError, match=r"^[\w-]+/\w+ cannot be had: \S") as caught:
        load_by_name(name, trained=True)
    assert "\n" not in str(caught.value) and not requests


@pytest.mark.parametrize(
    ("raised", "reason"),
    [(OSError("\n  We tried.\nThree times."), "We tried."), (KeyError(), "KeyError")],
    ids=["lines", "silent"],
)
def test_whatever_the_hub_raises_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, reason: str
) -> None:
    def fail(*_: object, **options: object) -> NoReturn:
        assert options["local_files_only"] is False
        raise raised

    monkeypatch.setattr(transformers.MimiModel, "from_pretrained", fail)
    with pytest.raises(ContenderError) as caught:
        load_by_name("mimi", trained=True)
    assert str(caught.value) == f"kyutai/mimi cannot be had: {reason}"


def test_encodec_takes_about_6_gflop_per_second_of_audio(load: Load) -> None:
    """By hand: 32 to 512 channels, kernels of twice the strides, units of kernel 3, two LSTM layers; Défossez et al."""
    frames = 75
    rate, width, per_second = 24_000, 32, 24_000 * 7 * 32
    for stride in (2, 4, 5, 8):
        residual = 3 * width * (width // 2) + (width // 2) * width + width * width
        per_second += rate * residual + (rate // stride) * 2 * stride * width * (2 * width)
        rate, width = rate // stride, 2 * width
    assert (rate, width) == (frames, 512)
    per_second += frames * 2 * 4 * 512 * (512 + 512) + frames * 7 * 512 * 128
    search = frames * 8 * 128 * 1024  # of each frame in each codebook
    work = load("encodec-24k").work(24_000)
    assert work["encode"][0] == 2 * (per_second + search)
    assert work["decode"][0] == pytest.approx(2 * per_second, rel=0.02)  # the mirror, but for its transposed kernels
    assert sum(flops for flops, _ in work.values()) == pytest.approx(6e9, rel=0.05)
