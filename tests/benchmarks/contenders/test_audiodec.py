"""AudioDec's adapter, on a small checkout with the same modules, names and habits as the real one."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from apcodec_benchmarks.contenders.audiodec import AudioDec, audiodec
from apcodec_benchmarks.contenders.base import Settings
from apcodec_deploy.errors import BenchmarkError, ContenderError

RATE, FRAME = 8000, 4
STEP = 1 / 8
"""Of the first codebook; the second one refines it eightfold."""
GAIN = 0.5
"""What the vocoder multiplies by, and what its statistics file holds."""
FAKE = Path(__file__).parent / "audiodec_checkout"


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    """A checkout as it is cloned: without checkpoints."""
    checkout = tmp_path / "AudioDec"
    shutil.copytree(FAKE, checkout, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "stats").mkdir()
    np.save(checkout / "stats" / "tiny.npy", np.float32(GAIN))
    return checkout


def checkpoints(checkout: Path) -> tuple[Path, Path]:
    encoder, decoder = (
        checkout / "exp" / kind / "tiny" / "checkpoint-1steps.pkl" for kind in ("autoencoder", "vocoder")
    )
    return encoder, decoder


@pytest.fixture
def checkout(untrained: Path) -> Path:
    """A checkout with checkpoints."""
    encoder, decoder = checkpoints(untrained)
    zero = torch.zeros(1, 1, 1)
    torch.save({"model": {"generator": {"codebooks": torch.zeros(2, 32), "encoder.pad_buffer": zero}}}, encoder)
    trained = {"scale": torch.tensor(GAIN), "weight": torch.ones(3), "output_conv.pad_buffer": zero}
    torch.save({"model": {"generator": trained}}, decoder)
    return untrained


def load(checkout: Path, **options: object) -> AudioDec:
    return audiodec(Settings(threads=1, options={"checkout": str(checkout), **options}))


def expected(clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """The round trip by hand: silence before the clip, each frame's first value rounded and held."""
    filtered = clip + np.concatenate([[0], clip[:-1]]) / 4
    held = np.repeat(np.round(filtered[::FRAME] / STEP * 8) * STEP / 8, FRAME) * GAIN
    decoded = held + np.concatenate([[0], held[:-1]]) / 4
    return decoded[: len(clip)].astype(np.float32)


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape).astype(np.float32)


def round_trip(codec: AudioDec, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return codec.download(codec.decode(codec.encode(codec.upload(audio))), audio.shape[1])


@pytest.mark.parametrize("samples", [1, 3, 4, 5, 401])
def test_a_clip_of_any_length_passes_through_encoder_codes_and_vocoder(checkout: Path, samples: int) -> None:
    audio = noise(1, samples)
    np.testing.assert_allclose(round_trip(load(checkout), audio)[0], expected(audio[0]), atol=1e-6)


def test_no_clip_hears_the_one_before(checkout: Path) -> None:
    codec, audio = load(checkout), noise(2, 401)
    first = round_trip(codec, audio[:1])
    round_trip(codec, audio[1:])
    np.testing.assert_array_equal(round_trip(codec, audio[:1]), first)


def test_a_batch_is_its_clips_one_by_one(checkout: Path) -> None:
    codec, audio = load(checkout), noise(3, 401)
    np.testing.assert_allclose(round_trip(codec, audio), [expected(clip) for clip in audio], atol=1e-6)
    codes = codec.codes(codec.encode(codec.upload(audio)))
    assert codes.shape == (3, 2, 101) and codes.dtype == np.int64
    assert codes.min() >= 0 and codes.max() < 32  # counted within each codebook, not through both
    for clip, row in zip(audio, codes, strict=True):
        np.testing.assert_array_equal(codec.codes(codec.encode(codec.upload(clip[None]))), row[None])


def test_pushes_in_step_give_what_the_whole_gives(checkout: Path) -> None:
    codec, audio = load(checkout), noise(3, 40)
    for _ in range(2):  # new streams hear nothing of those before
        push = codec.sessions(3)
        heard = np.concatenate([push(block) for block in np.split(audio, [4, 8, 32], axis=1)], axis=1)
        np.testing.assert_allclose(heard, [expected(clip) for clip in audio], atol=1e-6)


def test_its_facts_come_from_the_configuration(checkout: Path) -> None:
    facts = load(checkout).facts
    assert (facts.sample_rate, facts.frame, facts.bitrate) == (RATE, FRAME, 2 * 5 * RATE / FRAME)
    assert (facts.weights, facts.parameters, facts.device, facts.precision) == ("trained", 3, "cpu", "float32")
    changed = facts.weights_hash
    with checkpoints(checkout)[1].open("ab") as file:
        file.write(b"\0")
    assert load(checkout).facts.weights_hash != changed is not None


def test_loading_leaves_the_process_as_it_was(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours: dict[str, Any] = {name: ModuleType(name) for name in ("utils", "models", "models.ours")}
    for name, module in ours.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(logging.root, "handlers", [])

    def state() -> tuple[object, ...]:
        taken = {name: each for name, each in sys.modules.items() if name.split(".")[0] in (*ours, "bin", "layers")}
        return os.getcwd(), list(sys.path), taken, list(logging.root.handlers), torch.initial_seed()

    before = state()
    load(checkout)
    load(checkout, weights="random")
    assert state() == before
    checkpoints(checkout)[0].write_bytes(b"no checkpoint")
    with pytest.raises(ContenderError):
        load(checkout)
    assert state() == before
    assert capsys.readouterr().out == ""


def test_two_checkouts_are_kept_apart(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(checkout, other)
    layers = other / "layers" / "conv_layer.py"
    layers.write_text(layers.read_text().replace("/ 4", "* 0.5"))
    audio = noise(1, 40)
    codecs = load(checkout), load(other)
    assert np.abs(round_trip(codecs[1], audio)[0] - expected(audio[0])).max() > 0.01
    np.testing.assert_allclose(round_trip(codecs[0], audio)[0], expected(audio[0]), atol=1e-6)


def test_speed_can_be_measured_without_checkpoints(untrained: Path) -> None:
    codec = load(untrained, weights="random")
    assert codec.facts.weights == "random" and codec.facts.weights_hash is None
    assert any("random" in note for note in codec.facts.notes)
    assert round_trip(codec, noise(2, 41)).shape == (2, 41)


def test_missing_checkpoints_are_named_with_what_helps(checkout: Path) -> None:
    encoder, decoder = checkpoints(checkout)
    decoder.unlink()
    with pytest.raises(ContenderError, match="README") as caught:
        load(checkout)
    message = str(caught.value)
    assert str(decoder.relative_to(checkout)) in message and str(encoder.relative_to(checkout)) not in message


def test_a_checkpoint_that_would_run_code_is_refused(checkout: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model": {"generator": Payload()}}, checkpoints(checkout)[0])
    with pytest.raises(ContenderError, match="cannot load"):
        load(checkout)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_shape_is_named(checkout: Path) -> None:
    torch.save({"model": {"generator": {"codebooks": torch.zeros(3, 32)}}}, checkpoints(checkout)[0])
    with pytest.raises(ContenderError, match=r"cannot load .*autoencoder"):
        load(checkout)


def test_a_package_that_its_code_needs_is_named(checkout: Path) -> None:
    with (checkout / "bin" / "stream.py").open("a") as file:
        file.write("import package_that_is_not_here\n")
    with pytest.raises(ContenderError, match=r"package_that_is_not_here.*requirements\.txt"):
        load(checkout)


def test_a_checkout_is_needed_and_recognised(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match="--audiodec"):
        audiodec(Settings(threads=1))
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ContenderError, match="no checkout of AudioDec"):
            load(folder)


def test_what_it_does_not_have_is_refused(checkout: Path) -> None:
    with pytest.raises(ContenderError, match="'vctk_v9'"):
        load(checkout, model="vctk_v9")
    with pytest.raises(BenchmarkError, match="'trained' or 'random'"):
        load(checkout, weights="good")
    with pytest.raises(ContenderError, match="float16"):
        audiodec(Settings(threads=1, precision="float16", options={"checkout": str(checkout)}))
    (checkout / "exp" / "autoencoder" / "tiny" / "config.yml").write_text("model_type: symAudioDec")
    with pytest.raises(ContenderError, match=r"config\.yml"):
        load(checkout)


@pytest.mark.slow
def test_the_real_code_runs_with_random_weights(speech: NDArray[np.float32]) -> None:
    """Needs a clone of AudioDec and what its requirements.txt lists."""
    checkout = os.environ.get("APCODEC_AUDIODEC_CHECKOUT")
    if checkout is None:
        pytest.skip("APCODEC_AUDIODEC_CHECKOUT does not name a checkout of AudioDec")
    codec = load(Path(checkout), weights="random")
    assert (codec.facts.sample_rate, codec.facts.frame, codec.facts.bitrate) == (48_000, 300, 12_800)
    batch = np.stack([speech[:20_001], speech[40_000:60_001]])
    decoded = round_trip(codec, batch)
    np.testing.assert_allclose(decoded, np.concatenate([round_trip(codec, clip[None]) for clip in batch]), atol=1e-5)
    assert codec.codes(codec.encode(codec.upload(batch))).shape == (2, 8, 67)
