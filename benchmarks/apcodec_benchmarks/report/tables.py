"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from apcodec_benchmarks.measurements import ContenderRecord, Timing
from apcodec_benchmarks.modes import PUSH
from apcodec_benchmarks.report.cells import MARK, figure, line
from apcodec_benchmarks.report.glance import glance_table
from apcodec_benchmarks.report.quality_tables import means_table, windows_table
from apcodec_benchmarks.report.speed_tables import contenders_table, mode_table, stages_table
from apcodec_benchmarks.report.stream_tables import LIVE_TABLES, is_live, push_table
from apcodec_benchmarks.results import Results
from apcodec_benchmarks.windows import WHOLE


def markdown(results: Results) -> str:
    """All that was measured, table by table, with what is needed to read it."""
    parts = [_about(results)]
    if _is_sweep(results):
        return "\n\n".join([*parts, windows_table(results), *_remarks(results)]) + "\n"
    for mode, what in results.settings.get("modes", {}).items():
        if timings := _timed(results, mode):
            parts.append(f"### {mode}: {what}\n\n{mode_table(mode, timings, results)}")
    if results.stages:
        parts.append(f"### Where the time goes\n\n{stages_table(results)}")
    if results.quality:
        parts.append(f"### Quality, mean of the files\n\n{means_table(results)}")
    if results.contenders and results.timings:
        parts.append(f"### Contenders\n\n{contenders_table(results)}")
    return "\n\n".join([*parts, *_remarks(results)]) + "\n"


def summary(results: Results) -> str:
    """The tables that a document shows: speed in one mode, live use, quality, or the window sweep."""
    if _is_sweep(results):
        return f"{windows_table(results)}\n\n{_machine(results)}\n"
    if results.quality:
        return f"{means_table(results)}\n\n{_machine(results)}\n"
    modes = {each.mode for each in results.timings}
    if is_live(results):
        tables = [mode_table(mode, _timed(results, mode), results) for mode in LIVE_TABLES if mode in modes]
        absent = [f"{record.name} did not run: {line(str(record.problem))}." for record in _failed(results)]
        return "\n\n".join([*tables, " ".join([_machine(results), *_random_mark(results), *absent])]) + "\n"
    order = ("cpuN", "cpu1", "throughput", "length", "paper", "engine", "window")
    shown = [mode for mode in order if mode in modes][:1]
    tables = [mode_table(mode, _timed(results, mode), results) for mode in shown]
    return "\n\n".join([*tables, " ".join([_machine(results), *_random_mark(results)])]) + "\n"


def short_summary(results: Results, names: Sequence[str]) -> str:
    """The speed of some contenders, or what a push to them takes, and on what machine."""
    cpu = results.environment["cpu"]
    mark = " ".join(_random_mark(results))
    machine = f"{cpu['name']}, {cpu['usable']} CPUs, {results.made[:10]}. {mark}".rstrip()
    if is_live(results):
        return f"{push_table(_timed(results, PUSH), results, names)}\n\n{machine}\n"
    return f"{glance_table(results, names)}\n\n{machine}\n"


def _timed(results: Results, mode: str) -> list[Timing]:
    return [each for each in results.timings if each.mode == mode]


def _is_sweep(results: Results) -> bool:
    return bool(results.quality) and results.contenders[-1].name == WHOLE


def _random_mark(results: Results) -> list[str]:
    random = any(record.facts is not None and record.facts.weights == "random" for record in results.contenders)
    return [f"{MARK} random weights: speed counts, quality does not."] if random else []


def _machine(results: Results) -> str:
    """On what, with what, when."""
    machine = results.environment
    cpu, packages = machine["cpu"], machine["packages"]
    gpus = "; ".join(f"{gpu['name']}, driver {gpu['driver_version']}" for gpu in machine["gpus"]) or "no GPU"
    named = ("onnxruntime", "torch", "transformers")
    versions = ", ".join(f"{name} {packages[name]}" for name in named if name in packages)
    return (
        f"{cpu['name']}, {cpu['usable']} CPUs usable, {gpus}; {versions}; apcodec-deploy {machine['apcodec-deploy']} "
        f"at {machine['revision'] or 'an unknown revision'}; {results.made[:10]}."
    )


def _about(results: Results) -> str:
    lines = [
        _machine(results),
        *([f"{results.settings['definition']}."] if "definition" in results.settings else []),
        *([f"Repeated: {results.settings['schedule']}."] if "schedule" in results.settings else []),
    ]
    for ceiling in results.ceilings:
        unit = "GFLOP/s" if ceiling.operation == "product" else "GB/s"
        lines.append(
            f"Ceiling, {ceiling.threads} thread{'s' * (ceiling.threads > 1)}: {figure(ceiling.rate / 1e9)} {unit} "
            f"({ceiling.size}; best {figure(ceiling.best / 1e9)})."
        )
    return "  \n".join(lines)


def _remarks(results: Results) -> list[str]:
    """Everything that a reader must know beside the figures."""
    remarks = _random_mark(results)
    for record in results.contenders:
        if record.facts is not None and not _is_sweep(results):
            remarks += [f"{record.facts.title}: {note}." for note in record.facts.notes]
    remarks += [f"{record.name} did not run: {record.problem}" for record in _failed(results)]
    remarks += [f"skipped: {reason}" for reason in results.settings.get("skipped_files", ())]
    for name, reason in results.settings.get("absent_metrics", {}).items():
        remarks.append(f"no {name}: {reason}")
    remarks += [f"{row.contender}, {row.file}: {row.problem}" for row in results.quality if row.problem is not None]
    for record in results.contenders:
        remarks += [f"{record.name}, {failure}" for failure in record.failures]
    for timing in results.timings:
        remarks += [f"{timing.contender}, {timing.mode}, {timing.case}: {warning}" for warning in timing.warnings]
    return ["\n".join(f"- {line(each)}" for each in dict.fromkeys(remarks))] if remarks else []


def _failed(results: Results) -> list[ContenderRecord]:
    return [record for record in results.contenders if record.problem is not None]
