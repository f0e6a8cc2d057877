"""From what ``apcodec bench stream`` is told to a plan: commands in words, models, contenders; no path in results."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from apcodec_benchmarks import models, stream_request
from apcodec_benchmarks.models import SHAPES, streamable_models
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.stream_request import StreamRequest, run_stream
from apcodec_benchmarks.streaming import StreamPlan
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.families import StreamSpec
from apcodec_export import exporting
from apcodec_export.checkpoint import Checkpoint


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[StreamPlan]:
    """The plans that would have been measured."""
    found: list[StreamPlan] = []

    def measured(plan: StreamPlan, progress: object) -> Results:
        found.append(plan)
        return Results(made="", command=plan.command, environment={}, settings={})

    monkeypatch.setattr(stream_request, "measure_stream", measured)
    return found


def test_the_command_says_what_was_asked_for_and_holds_no_path() -> None:
    assert StreamRequest(threads=2).command == "apcodec bench stream --shape full --threads 2"
    full = StreamRequest(
        threads=4, models=["/home/me/a", "b"], codecs=["apcodec", "mimi"], tokens=[1, 16], soak=10_000, quick=True
    )
    assert full.command == (
        "apcodec bench stream --codecs apcodec,mimi --model a --model b --tokens 1,16 --threads 4 --soak 10000 --quick"
    )


def test_every_apcodec_runs_each_model_and_others_run_once(
    streamable_bundle: Path, remembering_bundle: Path, plans: list[StreamPlan], tmp_path: Path
) -> None:
    paths = [str(streamable_bundle), str(remembering_bundle)]
    audiodec = tmp_path / "checkout"
    run_stream(StreamRequest(threads=2, models=paths, audiodec=audiodec))
    (plan,) = plans
    kinds = ("apcodec", "apcodec-ort-int8", "apcodec-openvino", "apcodec-int8")
    labels = [streamable_bundle.name, remembering_bundle.name]
    expected = [f"{kind} {label}" for kind in kinds for label in labels]
    assert [entry.name for entry in plan.entries] == [*expected, "encodec-24k", "mimi", "audiodec"]
    assert plan.entries[1].options["model"] == str(remembering_bundle)
    assert plan.entries[2].options["precision"] == "int8"
    assert plan.entries[-1].options["checkout"] == str(audiodec)
    assert (list(plan.threads), list(plan.tokens)) == ([1, 2], [1, 2, 4, 8])
    (piped,) = plan.pipes
    assert piped == expected[0]
    assert str(streamable_bundle) in plan.pipes[piped].encode and plan.pipes[piped].unit == 320


def test_one_model_needs_no_label(streamable_bundle: Path, plans: list[StreamPlan]) -> None:
    request = StreamRequest(threads=1, models=[str(streamable_bundle)], codecs=["apcodec", "mimi"], tokens=[8, 1, 8])
    run_stream(request)
    run_stream(replace(request, codecs=["mimi"], quick=True))
    assert [[entry.name for entry in plan.entries] for plan in plans] == [["apcodec", "mimi"], ["mimi"]]
    assert [list(plan.tokens) for plan in plans] == [[1, 8], [1, 8]]
    assert plans[0].threads == [1] and not plans[1].pipes
    assert plans[1].most < plans[0].most and plans[1].pushes.calls < plans[0].pushes.calls


def test_what_cannot_be_measured_is_refused(streamable_bundle: Path, plans: list[StreamPlan], tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="apcodec-grn: what it codes depends on what comes later"):
        run_stream(StreamRequest(threads=1, models=["demo"]))
    with pytest.raises(BenchmarkError, match="no shape is called 'large'; there are: full, small"):
        run_stream(StreamRequest(threads=1, shape="large"))
    with pytest.raises(BenchmarkError, match="no contender is called mp3"):
        run_stream(StreamRequest(threads=1, codecs=["mp3"], shape="large"))
    copy = tmp_path / streamable_bundle.name
    shutil.copytree(streamable_bundle, copy)
    with pytest.raises(BenchmarkError, match="--model names two bundles alike"):
        run_stream(StreamRequest(threads=1, models=[str(streamable_bundle), str(copy)]))
    assert not plans


def test_without_a_model_weights_are_random_with_and_without_history(
    streamable_bundle: Path, remembering_bundle: Path, plans: list[StreamPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are exported for timing only, which has 8-bit graphs as well; here bundles of that history serve."""
    exported = {0: streamable_bundle, 6: remembering_bundle}

    def export(checkpoint: Checkpoint, output: Path, *, proven: bool, **_: object) -> Bundle:
        assert not proven and checkpoint.network.dim == 8
        return Bundle.open(shutil.copytree(exported[checkpoint.network.context], output))

    monkeypatch.setattr(exporting, "export_bundle", export)
    monkeypatch.setitem(SHAPES, "full", {"dim": 8, "intermediate_dim": 8, "num_layers": 1})
    with streamable_models("full") as made:
        assert list(made) == ["context 0", "context 6"]
        for context, path in zip(models.CONTEXTS, made.values(), strict=True):
            spec = Bundle.open(path).spec
            assert isinstance(spec, StreamSpec) and spec.context == context
    assert not any(Path(path).exists() for path in made.values())
    run_stream(StreamRequest(threads=1, codecs=["apcodec"]))
    assert [entry.name for entry in plans[0].entries] == ["apcodec context 0", "apcodec context 6"]
