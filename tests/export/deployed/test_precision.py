"""Precision plans: rules that mean what they say, or are refused."""

from __future__ import annotations

import pytest
import torch

from apcodec_deploy.errors import ExportError
from apcodec_export.deployed.precision import FULL, HALF, PrecisionPlan

PATHS = ["encoder.phase.blocks.0.expand", "encoder.phase.blocks.1.expand", "decoder.real_head"]


def test_the_plans_reduce_everything_or_nothing() -> None:
    assert {HALF.dtype(path) for path in PATHS} == {torch.float16}
    assert {FULL.dtype(path) for path in PATHS} == {torch.float32}


def test_patterns_keep_layers_in_float32() -> None:
    plan = PrecisionPlan(name="float16", float32=("*.blocks.1.*", "decoder.real_head"))
    assert [plan.dtype(path) for path in PATHS] == [torch.float16, torch.float32, torch.float32]


def test_a_pattern_that_names_no_layer_is_refused() -> None:
    with pytest.raises(ExportError, match=r"no layer is called decoder\.phase-head; layers are called like encoder"):
        PrecisionPlan(name="float16", float32=("*.expand", "decoder.phase-head")).check(PATHS)


def test_a_plan_stands_beside_the_graphs_layer_by_layer() -> None:
    assert PrecisionPlan(name="float16", float32=("decoder.*",)).to_dict(PATHS) == {
        "reduced": "float16",
        "float32": ["decoder.*"],
        "layers": {PATHS[0]: "float16", PATHS[1]: "float16", PATHS[2]: "float32"},
    }


def test_a_precision_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ExportError, match="no precision is called 'fp8'"):
        PrecisionPlan(name="fp8")
