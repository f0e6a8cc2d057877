"""Tables of quality: means over files, and the window sweep."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from apcodec_benchmarks.measurements import Quality
from apcodec_benchmarks.metrics.catalogue import METRICS
from apcodec_benchmarks.report.cells import NOTHING, figure, table, title_of
from apcodec_benchmarks.results import Results


def means_table(results: Results) -> str:
    """Each contender's mean over the files that it could do."""
    metrics = [metric for metric in METRICS.values() if any(metric.name in row.metrics for row in results.quality)]
    rows = []
    for record in results.contenders:
        own = [row for row in results.quality if row.contender == record.name and row.problem is None]
        if not own:
            continue
        values = [_mean([row.metrics.get(metric.name) for row in own], metric.digits) for metric in metrics]
        rows.append(
            [
                title_of(results, record.name),
                str(len(own)),
                figure(statistics.fmean(row.bitrate for row in own) / 1000),
                *values,
                _agreement(own),
                _mean([row.against_snr for row in own], 1),
            ]
        )
    arrows = [f"{metric.title} {'↑' if metric.higher_is_better else '↓'}" for metric in metrics]
    head = ["contender", "files", "kbit/s", *arrows, "codes as float32, by codebook", "SNR to float32, dB"]
    return table(head, rows)


def windows_table(results: Results) -> str:
    """The window sweep: quality, codes that equal those of the clip as a whole, and speed, by the windows' length."""
    metrics = [METRICS[name] for name in ("lsd", "mel", "si_sdr", "stoi", "pesq")]
    metrics = [metric for metric in metrics if any(metric.name in row.metrics for row in results.quality)]
    rows = []
    for record in results.contenders:
        own = [row for row in results.quality if row.contender == record.name and row.problem is None]
        timings = [each for each in results.timings if each.contender == record.name]
        if not own:
            continue
        rows.append(
            [
                record.name,
                *(_mean([row.metrics.get(metric.name) for row in own], metric.digits) for metric in metrics),
                _agreement(own),
                figure(timings[0].rtf) if timings else NOTHING,
                figure(None if not timings or timings[0].memory is None else timings[0].memory / 1e6),
            ]
        )
    arrows = [f"{metric.title} {'↑' if metric.higher_is_better else '↓'}" for metric in metrics]
    return table(["window", *arrows, "codes as whole, by codebook", "RTF", "peak MB"], rows)


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.{digits}f}" if known else NOTHING


def _agreement(rows: Sequence[Quality]) -> str:
    """Mean shares of equal codes, codebook by codebook."""
    known = [row.agreement for row in rows if row.agreement]
    return " ".join(f"{statistics.fmean(each):.1%}" for each in zip(*known, strict=True)) if known else NOTHING
