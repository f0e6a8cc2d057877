"""Coded audio in memory and on disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import apcodec_deploy
from apcodec_deploy import Codec
from apcodec_deploy.bitstream.header import Header
from apcodec_deploy.encoded import EncodedAudio
from apcodec_deploy.errors import ApcodecError, BitstreamError, OutputError
from apcodec_deploy.windows import WindowLayout

LATENTS = 1501

LOAD_WITHOUT_A_RUNTIME = """
import sys
sys.modules["onnxruntime"] = None
import apcodec_deploy
clip = apcodec_deploy.EncodedAudio.load(sys.argv[1])
print(clip.codes.shape, clip.samples, clip.codes.astype(int).sum())
"""


@pytest.fixture
def header() -> Header:
    """Ten seconds of stereo at 44.1 kHz."""
    return Header(
        fingerprint="fedcba9876543210",
        sample_rate=44100,
        model_rate=48000,
        channels=2,
        samples=441000,
        latents=LATENTS,
        codebooks=4,
        bits_per_code=10,
        samples_per_latent=320,
        layout=WindowLayout(core=150, context=10),
        one_dimensional=False,
    )


@pytest.fixture
def clip(header: Header) -> EncodedAudio:
    """Random codes for ``header``."""
    codes = np.random.default_rng(0).integers(0, 1024, (2, 4, LATENTS)).astype(np.int16)
    return EncodedAudio(codes, header)


@pytest.fixture
def unwritable(clip: EncodedAudio) -> EncodedAudio:
    """A clip that fails while it is being written: its last code takes more bits than the header gives it."""
    codes = clip.codes.copy()
    codes[-1, -1, -1] = 1024
    return EncodedAudio(codes, clip.header)


@pytest.mark.parametrize("trailer", [False, True])
@pytest.mark.parametrize("as_text", [False, True])
def test_round_trip(clip: EncodedAudio, tmp_path: Path, trailer: bool, as_text: bool) -> None:
    saved = EncodedAudio(clip.codes, replace(clip.header, trailer=trailer))
    path = tmp_path / "clip.apc"
    saved.save(str(path) if as_text else path)
    back = EncodedAudio.load(str(path) if as_text else path)
    assert (back.header, back.gaps) == (saved.header, ())
    assert back.codes.dtype == np.int16
    np.testing.assert_array_equal(back.codes, clip.codes)


def test_it_says_what_was_coded(clip: EncodedAudio) -> None:
    assert (clip.sample_rate, clip.samples, clip.channels) == (44100, 441000, 2)
    assert clip.duration == 10.0
    assert clip.fingerprint == "fedcba9876543210"


def test_ten_seconds_take_six_kilobits_per_second_and_channel(clip: EncodedAudio, tmp_path: Path) -> None:
    clip.save(tmp_path / "clip.apc")
    assert (tmp_path / "clip.apc").stat().st_size * 8 == pytest.approx(2 * 6000 * 10, rel=0.01)


def test_loading_needs_no_model(clip: EncodedAudio, tmp_path: Path) -> None:
    path = tmp_path / "clip.apc"
    clip.save(path)
    command = [sys.executable, "-c", LOAD_WITHOUT_A_RUNTIME, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == f"(2, 4, 1501) 441000 {clip.codes.astype(int).sum()}"


def test_saving_replaces_unless_told_not_to(clip: EncodedAudio, tmp_path: Path) -> None:
    path = tmp_path / "clip.apc"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"clip\.apc exists"):
        clip.save(path, overwrite=False)
    assert path.read_bytes() == b"old"
    clip.save(path)
    assert EncodedAudio.load(path).header == clip.header


@pytest.mark.parametrize("before", [b"old", None])
def test_a_failed_save_leaves_everything_as_it_was(
    unwritable: EncodedAudio, tmp_path: Path, before: bytes | None
) -> None:
    path = tmp_path / "clip.apc"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(BitstreamError, match="do not fit"):
        unwritable.save(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == ({"clip.apc": before} if before else {})


def test_folders_are_made(clip: EncodedAudio, tmp_path: Path) -> None:
    clip.save(tmp_path / "a" / "b" / "clip.apc")
    assert EncodedAudio.load(tmp_path / "a" / "b" / "clip.apc").samples == 441000


@pytest.mark.parametrize("shape", [(1, 4, LATENTS), (2, 3, LATENTS), (2, 4, LATENTS - 1), (4, 2, LATENTS), (LATENTS,)])
def test_codes_of_another_shape_are_refused(header: Header, shape: tuple[int, ...]) -> None:
    with pytest.raises(BitstreamError, match=r"int16 \[2, 4, 1501\] is what the header says"):
        EncodedAudio(np.zeros(shape, np.int16), header)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "float32", "bool"])
def test_codes_of_another_type_are_refused(header: Header, dtype: str) -> None:
    codes: NDArray[np.int16] = np.zeros((2, 4, LATENTS), dtype)
    with pytest.raises(BitstreamError, match=f"codes are {dtype}"):
        EncodedAudio(codes, header)


def test_a_damaged_file_gives_the_rest_when_salvaged(clip: EncodedAudio, tmp_path: Path) -> None:
    path = tmp_path / "clip.apc"
    short = EncodedAudio(clip.codes, replace(clip.header, chunk_latents=100))
    short.save(path)
    data = bytearray(path.read_bytes())
    data[56 + 3 * (12 + 1000) + 500] ^= 1
    path.write_bytes(data)
    with pytest.raises(BitstreamError, match="chunk 3 of 16"):
        EncodedAudio.load(path)
    back = EncodedAudio.load(path, salvage=True)
    assert [(gap.start, gap.stop) for gap in back.gaps] == [(300, 400)]
    expected = clip.codes.copy()
    expected[:, :, 300:400] = 0
    np.testing.assert_array_equal(back.codes, expected)


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", bytes(56), b"\x89APC"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.apc"
    path.write_bytes(content)
    with pytest.raises(BitstreamError):
        EncodedAudio.load(path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.apc", tmp_path):
        with pytest.raises(ApcodecError, match=path.name):
            EncodedAudio.load(path)


@pytest.fixture(scope="module", params=["demo", "demo-s"])
def model(request: pytest.FixtureRequest) -> Iterator[Codec]:
    """Of each family."""
    with apcodec_deploy.load(request.param) as codec:
        yield codec


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint8])
@pytest.mark.parametrize("axes", [2, 3])
def test_raw_codes_decode_as_those_of_a_clip(
    model: Codec, speech: NDArray[np.float32], tmp_path: Path, axes: int, dtype: type[np.integer[Any]]
) -> None:
    coded = model.encode(speech[60_000:84_000])
    codes = coded.codes % 256 if dtype is np.uint8 else coded.codes
    given = (codes[0] if axes == 2 else np.concatenate((codes, codes))).astype(dtype)
    made = EncodedAudio.of_codes(given, model)
    np.testing.assert_array_equal(made.codes, codes if axes == 2 else np.concatenate((codes, codes)))
    audio = model.decode(made)
    assert audio.shape == ((made.samples,) if axes == 2 else (2, made.samples))
    # As many samples as can have so many latents: with one more there would be one more latent.
    assert model.encode(np.zeros(made.samples, np.float32)).codes.shape[2] == codes.shape[2]
    assert model.encode(np.zeros(made.samples + 1, np.float32)).codes.shape[2] == codes.shape[2] + 1
    expected = model.decode(replace(coded, codes=codes))
    np.testing.assert_allclose(np.atleast_2d(audio)[-1, : len(expected)], expected, atol=1e-6)
    made.save(tmp_path / "a.apc")
    np.testing.assert_array_equal(EncodedAudio.load(tmp_path / "a.apc").codes, made.codes)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_raw_codes_decode_at_any_rate(model: Codec, rate: int) -> None:
    codes = np.random.default_rng(0).integers(0, model.codebook_size, (4, 30))
    made = EncodedAudio.of_codes(codes, model, rate)
    assert made.sample_rate == rate
    assert abs(made.duration - EncodedAudio.of_codes(codes, model).duration) < 2 / min(rate, 48_000)
    assert model.decode(made).shape == (made.samples,)


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        (np.zeros((4, 3)), "codes are float64 [4, 3]; whole numbers"),
        (np.zeros(4, int), "codes are int64 [4]; whole numbers (Q, L) or (C, Q, L)"),
        (np.zeros((4, 0), int), "[4, 0]"),
        (np.zeros((3, 4), int), "codes of 3 codebooks, [3, 4]; this model has 4"),
        (np.full((4, 3), 1024), "codes from 1024 to 1024; 0 to 1023"),
        (np.full((4, 3), -1), "codes from -1 to -1; 0 to 1023"),
    ],
)
def test_what_are_no_codes_of_a_model_is_refused(model: Codec, codes: NDArray[Any], told: str) -> None:
    with pytest.raises(BitstreamError) as caught:
        EncodedAudio.of_codes(codes, model)
    assert told in str(caught.value)


def test_decoding_an_array_says_how_raw_codes_are_decoded(model: Codec) -> None:
    with pytest.raises(BitstreamError, match=r"ndarray cannot be decoded, EncodedAudio can; EncodedAudio\.of_codes"):
        model.decode(np.zeros((4, 3), np.int16))  # type: ignore[arg-type]
