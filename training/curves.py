"""Draws what a long run gained: LSD, mel distance and STOI on the validation clips over the steps.

    .venv/bin/python training/curves.py training/results/long.json docs/plots/training/curves.svg

The same results give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

MEASURES = {"lsd": "LSD, lower is better", "mel": "mel distance, lower is better", "stoi": "STOI, higher is better"}
RUNS = {
    "apcodec": ("APCodec, no discriminators", "#0072B2"),
    "discriminators": ("from a mean, with discriminators", "#D55E00"),
    "discriminators again": ("from the next mean", "#E69F00"),
    "and again": ("and the next", "#CC79A7"),
    "apcodec-s": ("APCodec-S, a student", "#009E73"),
    "apcodec-s, intelligible": ("the student, with STOI as a loss", "#56B4E9"),
    "apcodec, coherent": ("APCodec, with coherence", "#000000"),
    "apcodec, coherent, discriminators": ("and with LSD from step 300", "#7F5F00"),
    "apcodec-s, coherent": ("APCodec-S, with both", "#8C8C8C"),
}
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "apcodec", "font.size": 9, "axes.grid": True, "grid.color": "#DDDDDD"}
WIDTH, HEIGHT = 8.3, 3.1


def drawn(results: dict[str, Any], out: Path) -> None:
    """Write the curves of ``results`` as SVG: one pair of axes a measure, one line a run. Step 0 is left out."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        for axes, (measure, title) in zip(figure.subplots(1, len(MEASURES)), MEASURES.items(), strict=True):
            for run, (label, colour) in RUNS.items():
                points = [(row["step"], row[measure]) for row in results[run]["rows"] if row["step"]]
                axes.plot(*zip(*points, strict=True), color=colour, label=label, marker="o", markersize=3)
            axes.set_title(title)
            axes.set_xlabel("step")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="svg", metadata={"Date": None})


def main() -> None:
    """Draw what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    try:
        results = json.loads(given.results.read_text(encoding="utf-8"))
        if not isinstance(results, dict) or (absent := RUNS.keys() - results.keys()):
            missing = ", ".join(sorted(absent)) if isinstance(results, dict) else "all runs"
            parser.error(f"{given.results} lacks {missing}; the runs of training/results/long.json are drawn")
        drawn(results, given.out)
    except (OSError, ValueError) as error:
        parser.error(f"{given.results} cannot be drawn as {given.out}: {error}")


if __name__ == "__main__":
    main()
