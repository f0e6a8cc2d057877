"""The proof that an export writes: what the graphs beside it give, by a runtime that had no part in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from apcodec_deploy import EncodedAudio, load
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.proof import AUDIO, CODES, DECODED, FILES, Proof, decibels
from apcodec_export.proof import LIMITS


def test_float32_graphs_meet_it_by_far(bundle: Path) -> None:
    proof = Proof.of(Bundle.open(bundle))
    assert set(proof.limits) == set(LIMITS)
    with load(bundle) as codec:
        found = codec.backend.encode(proof.audio[None])[0]
        decoded = codec.backend.decode(proof.codes[None].astype(np.int32))[0]
    assert (found == proof.codes).mean() >= 0.98
    assert decibels(proof.decoded, np.clip(decoded[: len(proof.decoded)], -1, 1)) >= 80


def test_its_files_are_what_other_programs_read(bundle: Path) -> None:
    audio, rate = soundfile.read(bundle / AUDIO)
    decoded, _ = soundfile.read(bundle / DECODED)
    encoded = EncodedAudio.load(bundle / CODES)
    with load(bundle) as codec:
        assert rate == encoded.sample_rate == codec.sample_rate
        assert len(audio) == len(decoded) == encoded.samples
        heard = codec.decode(encoded)
    assert decibels(decoded.astype(np.float32), np.clip(heard, -1, 1)) >= 80


def test_the_manifest_tells_their_sizes(bundle: Path) -> None:
    held = Bundle.open(bundle).manifest["proof"]["files"]
    assert set(held) == set(FILES)
    assert {name: (bundle / name).stat().st_size for name in FILES} == {
        name: each["bytes"] for name, each in held.items()
    }
