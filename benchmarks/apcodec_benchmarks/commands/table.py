"""``apcodec bench table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apcodec_deploy.cli.console import result, say


def table(
    files: Annotated[list[Path], typer.Argument(help="Results.", readable=False)],
    update: Annotated[
        Path | None,
        typer.Option("--update", help="A Markdown file; its marked part is replaced.", readable=False),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", help="Draw plots into this folder, one sub-folder per file.", readable=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace plots that exist.")] = False,
) -> None:
    """Print stored results as Markdown, draw plots of them, or put a table into a document.

    --update FILE replaces the lines between '<!-- bench NAME -->' and '<!-- /bench -->'. NAME is the name of the
    results file without its suffix.
    """
    from apcodec_benchmarks.report.document import updated
    from apcodec_benchmarks.report.tables import markdown
    from apcodec_benchmarks.results import Results
    from apcodec_deploy.errors import BenchmarkError
    from apcodec_deploy.files import written_whole

    held = {file.stem: Results.read(file) for file in files}
    if len(held) < len(files):
        raise BenchmarkError("two of the files have the same name, by which their plots and marks go; rename one")
    if plots is not None:
        from apcodec_benchmarks.report.plots import write_plots

        for name, results in held.items():
            for path in write_plots(results, plots / name, overwrite=overwrite):
                say(f"plot: {path}")
    if update is not None:
        try:
            # As bytes, so that line endings stay as they are.
            document = update.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BenchmarkError(f"{update} cannot be read as text ({error}); a Markdown file is expected") from error
        text = updated(document, held)
        with written_whole(update, overwrite=True) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
        say(f"updated: {update}")
        return
    for results in held.values():
        for line in markdown(results).splitlines():
            result(line)
