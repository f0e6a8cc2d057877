"""Results as plots: SVG files whose text stays text, the same bytes for the same results."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from apcodec_benchmarks.report import plot_sheet
from apcodec_benchmarks.report.glance import speed_plot
from apcodec_benchmarks.report.roofline_plot import roofline_plot
from apcodec_benchmarks.report.speed_plots import length_plot, rtf_plot, throughput_plot
from apcodec_benchmarks.report.stream_plot import stream_plot
from apcodec_benchmarks.report.windows_plot import is_sweep, windows_plot
from apcodec_benchmarks.results import Results
from apcodec_deploy.files import written_whole

_PLOTS = {
    "speed.svg": speed_plot,
    "rtf.svg": rtf_plot,
    "throughput.svg": throughput_plot,
    "length.svg": length_plot,
    "roofline.svg": roofline_plot,
    "streams.svg": stream_plot,
}
_SWEEP = {"windows.svg": windows_plot}


def write_plots(results: Results, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write those plots for which there are figures: all of them, or none after an error.

    Args:
        results: What was measured.
        folder: Where to; made if there is anything to write.
        overwrite: Replace files that exist.

    Returns:
        The files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: A file exists, or cannot be written.
    """
    paths = []
    with ExitStack() as stack:
        for name, text in summary_svgs(results).items():
            paths.append(folder / name)
            temporary = stack.enter_context(written_whole(paths[-1], overwrite=overwrite))
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def summary_svgs(results: Results) -> dict[str, str]:
    """The SVG text of those plots for which there are figures, by file name.

    A window sweep has one plot, as it has one table; what is not measured has none.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    texts = {}
    with plot_sheet.style():
        for name, plot in (_SWEEP if is_sweep(results) else _PLOTS).items():
            if (sheet := plot(results)) is not None:
                texts[name] = plot_sheet.svg(sheet)
    return texts
