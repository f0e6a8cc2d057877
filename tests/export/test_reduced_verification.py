"""Graphs of a reduced precision beside PyTorch: values are held to rounding, codes are left to the judgement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from apcodec_deploy.errors import ExportError
from apcodec_export import verification
from apcodec_export.verification import REDUCED_LIMIT, verify_reduced


def verified(monkeypatch: pytest.MonkeyPatch, code: int, value: float) -> dict[str, Any]:
    """What is said of a graph with the code 900 and the value 1 in PyTorch, and these in ONNX Runtime."""
    results = [np.array([[code]]), np.array([[value]], np.float32)]
    session = SimpleNamespace(run=lambda _, feed: results if list(feed) == ["audio"] else [])
    monkeypatch.setattr(verification, "session_of", lambda data, signature: session)
    graph: Any = SimpleNamespace(
        signature=SimpleNamespace(inputs=(SimpleNamespace(name="audio"),)),
        example=(torch.zeros(1),),
        module=lambda audio: (torch.tensor([[900]]), torch.tensor([[1.0]])),
    )
    return verify_reduced({"encode": graph}, {"encode": b""})


def test_a_near_tie_of_codes_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verified(monkeypatch, 3, 1.0)["worst"] == {"encode": 0.0}


def test_values_are_held_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verified(monkeypatch, 900, 1 - REDUCED_LIMIT / 2)["worst"]["encode"] == pytest.approx(
        REDUCED_LIMIT / 2, rel=1e-2
    )
    with pytest.raises(ExportError, match="encode"):
        verified(monkeypatch, 900, 1 - 2 * REDUCED_LIMIT)
