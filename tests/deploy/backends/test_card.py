"""What depends on the card: more memory, larger batches, and nothing else decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apcodec_deploy.backends.card import CardUse, window_bytes
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BackendError

GIB = 1 << 30


@given(free=st.integers(0, 200 * GIB))
def test_what_is_taken_fits_what_is_free(free: int) -> None:
    bundle = Bundle.embedded()
    use = CardUse.of(bundle, free)
    assert use.batch & (use.batch - 1) == 0
    assert use.batch == 1 or 2 * use.batch * window_bytes(bundle) <= 2 * use.arena <= free


def test_a_large_card_takes_large_batches_and_a_small_one_small_ones() -> None:
    bundle = Bundle.embedded()
    sizes = [CardUse.of(bundle, each * GIB).batch for each in (0, 2, 8, 80, 141)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] > 64


def test_the_profile_has_single_windows_and_many() -> None:
    bundle = Bundle.embedded()
    window = bundle.spec.layout().length
    profile = CardUse(batch=32, arena=GIB).profile(bundle)
    assert [profile.best(rows, window) for rows in (1, 2, 32, 33)] == [0, 1, 1, 1]
    assert profile.takes(1) and profile.takes(window) and not profile.takes(window + 1)
    assert len(CardUse(batch=1, arena=GIB).profile(bundle).shapes) == 1
    assert CardUse(batch=1, arena=GIB).halved.batch == 1


def test_pushes_of_streams_are_filled_up_to_a_few_shapes(streamable_bundle: Path) -> None:
    bundle = Bundle.open(streamable_bundle)
    profile = CardUse(batch=32, arena=GIB).profile(bundle)
    assert [profile.shapes[profile.best(streams, 8)].batch.least for streams in (1, 2, 5, 16, 40)] == [1, 4, 16, 16, 16]
    assert profile.shapes[profile.best(20, 64)].batch == (1, 32, 32)
    assert all(profile.takes(latents) for latents in range(1, 65))
    assert len(CardUse(batch=1, arena=GIB).profile(bundle).shapes) == 2


def test_tf32_is_off_until_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.embedded()
    assert CardUse.of(bundle, GIB).session_options(0, 1)["use_tf32"] == "0"
    monkeypatch.setenv("APCODEC_TF32", "1")
    use = CardUse.of(bundle, GIB)
    assert use.session_options(0, 1)["use_tf32"] == "1"
    assert "TF32 on" in str(use)
    monkeypatch.setenv("APCODEC_TF32", "yes")
    with pytest.raises(BackendError, match="APCODEC_TF32 is 'yes'; 0 or 1 is expected"):
        CardUse.of(bundle, GIB)
