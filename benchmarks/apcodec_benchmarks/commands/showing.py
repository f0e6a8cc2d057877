"""What the commands do with results: write, print, draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from apcodec_benchmarks.results import Results
from apcodec_deploy.cli.console import print_json, progress_bar, result, say


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar; its function takes what is being done, and how much of how much is done."""
    with progress_bar() as bar:
        task = bar.add_task("starting", total=None)

        def update(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        yield update


def show(
    results: Results, *, out: Path | None, plots: Path | None = None, overwrite: bool = False, json: bool = False
) -> None:
    """Write the results where they should go, print them as tables or as JSON, and then draw them.

    What can still fail comes last, so that nothing that was measured is lost.
    """
    if out is not None:
        results.write(out, overwrite=overwrite)
        say(f"results: {out}")
    if json:
        print_json(results.to_dict())
    else:
        from apcodec_benchmarks.report.tables import markdown

        for line in markdown(results).splitlines():
            result(line)
    if plots is not None:
        from apcodec_benchmarks.report.plots import write_plots

        for path in write_plots(results, plots, overwrite=overwrite):
            say(f"plot: {path}")
