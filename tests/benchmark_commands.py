"""What the tests of ``apcodec bench`` share: how a command is run and refused, and results of one contender."""

from __future__ import annotations

from dataclasses import replace

from benchmark_plot_results import record, timing
from benchmark_plot_results import results as made_results
from typer.testing import CliRunner, Result

from apcodec_benchmarks.results import Results
from apcodec_deploy.cli.main import app
from apcodec_deploy.errors import ApcodecError


def bench(*arguments: object) -> Result:
    """Run a command in this process; an error of ours is its exception."""
    return CliRunner().invoke(app, ["bench", *(str(argument) for argument in arguments)])


def refused(answer: Result) -> str:
    """The message of a command that ended with an error of ours, which is one line."""
    assert isinstance(answer.exception, ApcodecError), answer.output
    assert answer.exit_code == 1
    assert answer.stdout == ""
    message = str(answer.exception)
    assert "\n" not in message
    return message


def speed(*seconds: float, title: str = "A", mode: str = "cpuN") -> Results:
    timings = [timing("a", mode, *(seconds or (1.0, 1.01)))]
    return replace(made_results(record("a", title), timings=timings), settings={"modes": {mode: "x"}})
