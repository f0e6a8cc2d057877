"""Codecs of known quality over a folder of good and bad files: figures, reasons, codes compared, what is heard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import benchmark_stand_ins
import numpy as np
import pytest
import soundfile

from apcodec_benchmarks.contenders.base import Settings
from apcodec_benchmarks.contenders.catalogue import Entry
from apcodec_benchmarks.measurements import Quality
from apcodec_benchmarks.quality import RANDOM, Heard, QualityPlan, measure_quality
from apcodec_benchmarks.report.tables import markdown, summary
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.workers.process import Worker
from apcodec_deploy.audio.resampling import resampled_length
from apcodec_deploy.errors import BenchmarkError

Named = Callable[[str], Entry]
SETTINGS = Settings(threads=1)
GOOD = ("female.wav", "nested/german.wav", "nested/short.flac")
BAD = {"cut.wav": "cut", "empty.wav": "empty", "text.wav": "read as audio"}
CONTENDERS = (
    "StandIn", "Quieter", "Chooser", "Packed", "Uncountable", "Raiser", "LateDier", "Untrained", "absent"
)  # fmt: skip
CODING = ("standin", "quieter", "chooser", "packed", "uncountable", "raiser", "latedier")


@dataclass(frozen=True)
class Measured:
    """A run, and what was heard of it."""

    folder: Path
    results: Results
    heard: list[Heard]

    def row(self, contender: str, file: str) -> Quality:
        (found,) = (row for row in self.results.quality if (row.contender, row.file) == (contender, file))
        return found


def make_folder(folder: Path, examples: Path) -> list[Path]:
    """Real clips, cut short, of three rates and lengths, and three files that are none."""
    (folder / "nested").mkdir(parents=True)
    for name, source, seconds in (
        ("female.wav", "speech_female_48k.wav", 2.0),
        ("nested/german.wav", "speech_german_22k.wav", 1.7),
        ("nested/short.flac", "speech_male_44k.flac", 0.9),
    ):
        audio, rate = soundfile.read(examples / source)
        soundfile.write(folder / name, audio[rate : rate + round(seconds * rate)], rate)
    whole = (folder / "female.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("these are words\n" * 9)
    return sorted(path for path in folder.rglob("*.*"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Measured:
    """One run of everybody over everything."""
    folder = tmp_path_factory.mktemp("clips")
    files = make_folder(folder, examples)
    entries = {name.lower(): Entry(name=name.lower(), factory=f"benchmark_stand_ins:{name}") for name in CONTENDERS}
    heard: list[Heard] = []
    plan = QualityPlan(
        command="a test",
        entries=list(entries.values()),
        references=dict.fromkeys(("standin", "quieter", "chooser"), entries["standin"]),
        settings=SETTINGS,
        folder=folder,
        files=files,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", benchmark_stand_ins.PATH)
        return Measured(folder, measure_quality(plan, heard=heard.append), heard)


def plan_of(entries: list[Entry], files: list[Path], **values: object) -> QualityPlan:
    plan = QualityPlan(
        command="a test", entries=entries, references={}, settings=SETTINGS, folder=files[0].parent, files=files
    )
    return replace(plan, **values)  # type: ignore[arg-type]


@pytest.fixture
def clip(tmp_path: Path, examples: Path) -> Path:
    """A second of speech at the stand-ins' own rate."""
    audio, rate = soundfile.read(examples / "speech_german_22k.wav")
    file = tmp_path / "clip.wav"
    soundfile.write(file, np.interp(np.arange(16_000) / 16_000, np.arange(len(audio)) / rate, audio), 16_000)
    return file


def test_a_nearly_transparent_codec_is_near_the_best_of_every_metric(clip: Path, stand_in: Named) -> None:
    (row,) = measure_quality(plan_of([stand_in("StandIn")], [clip])).quality
    best = {"lsd": (0.0, 0.7), "mel": (0.0, 0.5), "si_sdr": (25, 60), "snr": (25, 60), "stoi": (0.98, 1.0)}
    for name, (low, high) in best.items():  # 8 bits fill the gaps between words with noise, which is what LSD hears
        assert low <= row.metrics[name] <= high, name
    assert row.problem is None
    assert row.seconds == 1.0
    assert row.bitrate == benchmark_stand_ins.StandIn.facts.bitrate


@pytest.mark.parametrize("file", GOOD)
def test_half_of_the_level_is_an_snr_of_6_db_and_changes_nothing_else(measured: Measured, file: str) -> None:
    quieter, transparent = measured.row("quieter", file), measured.row("standin", file)
    assert quieter.metrics["snr"] == pytest.approx(20 * np.log10(2), abs=0.4)
    assert quieter.metrics["si_sdr"] == pytest.approx(transparent.metrics["si_sdr"], abs=0.1)
    assert quieter.against_snr == pytest.approx(20 * np.log10(2), abs=0.001)
    assert transparent.metrics["snr"] > quieter.metrics["snr"] + 3


def test_random_weights_are_left_out_with_the_reason(measured: Measured) -> None:
    record = measured.results.contender("untrained")
    assert record.problem == RANDOM
    assert record.facts is not None and record.facts.weights == "random"
    assert not [row for row in measured.results.quality if row.contender == "untrained"]


def test_what_cannot_run_stays_with_its_reason(measured: Measured) -> None:
    assert [each.name for each in measured.results.contenders] == [name.lower() for name in CONTENDERS]
    record = measured.results.contender("absent")
    assert (record.facts, record.problem) == (None, "it needs something that is not here: get it")
    assert not [row for row in measured.results.quality if row.contender == "absent"]


def test_every_contender_has_a_row_for_every_file(measured: Measured) -> None:
    pairs = Counter((row.contender, row.file) for row in measured.results.quality)
    assert set(pairs) == {(name, file) for name in CODING for file in (*GOOD, *BAD)}
    assert set(pairs.values()) == {1}


@pytest.mark.parametrize("file", sorted(BAD))
def test_a_bad_file_has_its_reason_everywhere_and_the_others_go_on(measured: Measured, file: str) -> None:
    for name in CODING:
        row = measured.row(name, file)
        if name != "latedier":  # which is dead by the time of some
            assert row.problem is not None and BAD[file] in row.problem
        assert row.metrics == {} and row.agreement == ()
    assert all(measured.row("standin", good).problem is None for good in GOOD)


def test_reasons_hold_no_path(measured: Measured) -> None:
    text = json.dumps(measured.results.to_dict())
    assert str(measured.folder) not in text
    assert "text.wav cannot be read as audio" in text


def test_what_a_contender_raises_is_the_reason_of_that_file_alone(measured: Measured) -> None:
    assert measured.row("raiser", "female.wav").problem == "RuntimeError: too long for me"
    assert measured.row("raiser", "nested/german.wav").problem == "RuntimeError: too long for me"
    assert measured.row("raiser", "nested/short.flac").problem is None


def test_a_contender_that_dies_has_its_last_words_for_the_remaining_files(measured: Measured) -> None:
    assert measured.row("latedier", "female.wav").problem is None
    for file in ("nested/german.wav", "nested/short.flac", "text.wav"):
        assert measured.row("latedier", file).problem == "its process ended with code 7: out of something"


def test_audio_that_is_no_number_is_the_reason_but_can_be_heard(measured: Measured) -> None:
    row = measured.row("uncountable", "female.wav")
    assert row.problem is not None and "not a number" in row.problem
    assert np.isnan(measured.heard[0].decoded["uncountable"]).all()


@pytest.mark.parametrize("file", GOOD)
def test_the_share_of_equal_codes_is_exact(measured: Measured, file: str) -> None:
    rate = soundfile.info(measured.folder / file).samplerate
    columns = resampled_length(soundfile.info(measured.folder / file).frames, rate, benchmark_stand_ins.RATE)
    changed = len(range(0, columns, 4))
    assert measured.row("quieter", file).agreement == (1.0,)
    assert measured.row("chooser", file).agreement == (round(1 - changed / columns, 6),)
    assert {measured.row(name, file).against for name in ("quieter", "chooser")} == {"standin"}


def test_the_reference_is_not_compared_with_itself(measured: Measured) -> None:
    for name in ("standin", "packed"):  # the latter was given no reference
        row = measured.row(name, "female.wav")
        assert (row.against, row.against_snr, row.agreement) == (None, None, ())


def test_real_bits_count_where_the_codec_tells_them(measured: Measured) -> None:
    for file in GOOD:
        assert measured.row("packed", file).bitrate == pytest.approx(3 * benchmark_stand_ins.RATE, rel=1e-3)
        assert measured.row("standin", file).bitrate == 8 * benchmark_stand_ins.RATE


def test_each_good_file_is_heard_once_with_all_that_came_of_it(measured: Measured) -> None:
    assert [each.file for each in measured.heard] == list(GOOD)
    able = {"standin", "quieter", "chooser", "packed", "uncountable"}
    assert [set(each.decoded) - able for each in measured.heard] == [{"latedier"}, set(), {"raiser"}]
    for each in measured.heard:
        written, rate = soundfile.read(measured.folder / each.file, dtype="float32")
        assert each.sample_rate == rate
        np.testing.assert_allclose(each.original, written, atol=1e-6)
        assert {audio.shape for audio in each.decoded.values()} == {written.shape}
        # Aligned: no shift fits better than none.
        decoded = each.decoded["standin"][100:-100]
        errors = [np.square(written[100 + shift : len(written) - 100 + shift] - decoded).sum() for shift in (-1, 0, 1)]
        assert np.argmin(errors) == 1


def test_everything_survives_its_file(measured: Measured, tmp_path: Path) -> None:
    measured.results.write(tmp_path / "results.json")
    read = Results.read(tmp_path / "results.json")
    assert read == measured.results
    assert markdown(read) == markdown(measured.results)
    assert summary(read) == summary(measured.results)


def test_a_reference_that_nobody_asked_for_is_started_but_not_shown(clip: Path, stand_in: Named) -> None:
    heard: list[Heard] = []
    chooser, reference = stand_in("Chooser"), stand_in("StandIn")
    found = measure_quality(plan_of([chooser], [clip], references={"chooser": reference}), heard=heard.append)
    assert [record.name for record in found.contenders] == ["chooser"]
    assert [(row.contender, row.against, row.agreement) for row in found.quality] == [("chooser", "standin", (0.75,))]
    assert [set(each.decoded) for each in heard] == [{"chooser"}]


def test_another_precision_is_compared_with_its_own_float32(clip: Path, stand_in: Named) -> None:
    entry = stand_in("StandIn")
    settings = replace(SETTINGS, precision="float16")
    (row,) = measure_quality(plan_of([entry], [clip], references={"standin": entry}, settings=settings)).quality
    assert row.against == "standin in float32 on the CPU"
    assert row.agreement == (1.0,)


def test_nobody_codes_a_file_twice(clip: Path, stand_in: Named, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the reference comes after those that are compared with it."""
    done: Counter[str] = Counter()
    convert = Worker.convert

    def counted(self: Worker, file: str, audio: str, codes: str) -> dict[str, object]:
        done[self.name] += 1
        return convert(self, file, audio, codes)

    monkeypatch.setattr(Worker, "convert", counted)
    entries = [stand_in(name) for name in ("Quieter", "Chooser", "StandIn")]
    found = measure_quality(plan_of(entries, [clip], references={each.name: entries[-1] for each in entries}))
    assert [row.against for row in found.quality] == ["standin", "standin", None]
    assert done == {"quieter": 1, "chooser": 1, "standin": 1}


@pytest.mark.parametrize("reference", ["absent", "Dier", "Uncountable"])
def test_a_reference_that_fails_costs_nobody_their_figures(clip: Path, stand_in: Named, reference: str) -> None:
    plan = plan_of([stand_in("StandIn")], [clip], references={"standin": stand_in(reference)})
    results = measure_quality(plan)
    (row,) = results.quality
    assert row.problem is None and row.metrics["snr"] > 25
    assert row.against_snr is None
    json.dumps(results.to_dict(), allow_nan=False)


def test_only_the_metrics_that_were_asked_for_are_computed(clip: Path, stand_in: Named) -> None:
    (row,) = measure_quality(plan_of([stand_in("StandIn")], [clip], metrics=["snr", "lsd"])).quality
    assert list(row.metrics) == ["lsd", "snr"]


def test_an_unknown_metric_is_refused_before_any_work(clip: Path, stand_in: Named) -> None:
    def progress(what: str, done: int, total: int) -> None:
        raise AssertionError(f"it began: {what}")

    with pytest.raises(BenchmarkError, match="no metric is called loudness"):
        measure_quality(plan_of([stand_in("StandIn")], [clip], metrics=["loudness"]), progress=progress)


def test_a_folder_without_files_is_refused(tmp_path: Path, stand_in: Named) -> None:
    plan = replace(plan_of([stand_in("StandIn")], [tmp_path / "x"]), files=[])
    with pytest.raises(BenchmarkError, match="holds no audio files"):
        measure_quality(plan)
