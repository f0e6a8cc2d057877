"""The tables in the documents are those of the stored results, and the stored results are whole and hold no path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apcodec_benchmarks.report.document import updated
from apcodec_benchmarks.report.tables import markdown
from apcodec_benchmarks.results import Results

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = {
    "README.md": ("vnni-10s",),
    "docs/cpu.md": ("vnni-10s", "avx2-10s", "vnni-2s", "avx2-2s", "vnni-60s", "avx2-60s"),
    "docs/benchmarks.md": ("cpu", "quality", "length", "stream"),
    "docs/live.md": ("stream",),
    "docs/decisions/0009-windows.md": ("windows",),
    "docs/decisions/0019-streams-on-cpus.md": ("streamable",),
}


def stored(name: str) -> Path:
    """A results file by its name."""
    (file,) = RESULTS.rglob(f"{name}.json")
    return file


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_says_what_was_measured(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    held = {name: Results.read(stored(name)) for name in DOCUMENTS[document]}
    assert updated(text, held) == text, "run: apcodec bench table benchmarks/results/NAME.json --update " + document
    assert set(re.findall(r"<!-- bench ([\w-]+)(?:: [^>]+)? -->", text)) == set(held)


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("*.json")), ids=lambda file: str(file.stem))
def test_stored_results_are_whole(file: Path) -> None:
    results = Results.read(file)
    assert markdown(results)
    assert results.timings or results.quality
    assert not re.search(r'"[^"]*/(home|root|work|tmp|Users|opt)/', file.read_text(encoding="utf-8"))
    assert results.environment["cpu"]["name"]
    assert results.environment["revision"]


def test_every_plot_of_a_document_is_there() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / document).read_text(encoding="utf-8")):
            assert (ROOT / document).parent.joinpath(link).is_file(), link


def test_the_full_size_model_costs_35_gigaflop_per_second_of_audio_before_folding() -> None:
    notes = " ".join(Results.read(RESULTS / "cpu.json").contender("apcodec").facts.notes)  # type: ignore[union-attr]
    found = re.search(r"([\d.]+) GFLOP for 1200 frames .* as published, ([\d.]+) as exported", notes)
    assert found is not None
    assert float(found[1]) == pytest.approx(35.0, rel=0.01)


def test_time_grows_as_length_does_and_memory_does_not() -> None:
    timings = [each for each in Results.read(RESULTS / "length.json").timings if each.contender == "apcodec"]
    assert {each.case.seconds for each in timings} >= {1.0, 1800.0}
    long = [each for each in timings if each.case.seconds >= 10]
    assert max(each.rtf for each in long) < 1.5 * min(each.rtf for each in long)
    peaks = [each.memory for each in long if each.memory is not None]
    assert max(peaks) < 1.2 * min(peaks)
