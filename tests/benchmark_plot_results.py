"""Results made by hand for the tests of plots and tables, and what is written in an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from apcodec_benchmarks.facts import Facts, Weights
from apcodec_benchmarks.measurements import Case, Ceiling, ContenderRecord, Distribution, Quality, StageTiming, Timing
from apcodec_benchmarks.results import Results

LENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)


def record(name: str, title: str | None = None, weights: Weights = "trained") -> ContenderRecord:
    facts = Facts(
        title=title or name.upper(), library="none", sample_rate=48_000, bitrate=6000, frame=320, weights=weights
    )
    return ContenderRecord(name=name, facts=facts)


def timing(
    contender: str, mode: str, *seconds: float, operation: str = "round_trip", clip: float = 1.0, batch: int = 1,
    threads: int = 2, memory: int | None = None, warnings: Sequence[str] = (),
) -> Timing:  # fmt: skip
    case = Case(operation=operation, seconds=clip, batch=batch)
    return Timing(
        contender=contender, mode=mode, threads=threads, case=case, times=Distribution(seconds), memory=memory,
        warnings=tuple(warnings),
    )  # fmt: skip


def results(*contenders: ContenderRecord, timings: Sequence[Timing] = ()) -> Results:
    environment = {
        "cpu": {"name": "Some CPU", "usable": 2},
        "gpus": [],
        "packages": {"numpy": "2.0", "onnxruntime": "1.20"},
        "apcodec-deploy": "1.2.3",
        "revision": None,
    }
    return Results(
        made="2026-01-02T03:04:05+00:00",
        command="",
        environment=environment,
        settings={},
        contenders=contenders,
        timings=tuple(timings),
    )


def streamed(contender: str, growth: float, memory: int | None = 500_000_000) -> list[Timing]:
    return [timing(contender, "length", 0.2 * n**growth, operation="stream", clip=n, memory=memory) for n in LENGTHS]


def roofline(stages: Mapping[str, tuple[float | None, float | None, float]], threads: int = 2) -> Results:
    """One contender whose stages take so many FLOP, bytes and seconds, on 400 GFLOP/s and 50 GB/s with two threads."""
    rates = {"product": 400e9, "copy": 50e9}
    made = [
        StageTiming(
            contender="a", threads=threads, seconds=3.0, stage=name, flops=flops, bytes=moved,
            times=Distribution((seconds,)),
        )
        for name, (flops, moved, seconds) in stages.items()
    ]  # fmt: skip
    ceilings = [
        Ceiling(operation=name, threads=2, precision="float32", size="large", rate=rate, best=rate)
        for name, rate in rates.items()
    ]
    return replace(results(record("a")), stages=tuple(made), ceilings=tuple(ceilings))


def sweep(*names: str) -> Results:
    made = results(*map(record, names), timings=[timing(name, "paper", 0.0625) for name in names])
    rows = [
        Quality(contender=name, file=file, seconds=60.0, metrics={"lsd": lsd, "stoi": 0.75})
        for name in names
        for file, lsd in (("a.wav", 1.0), ("b.wav", 1.5))
    ]
    return replace(made, quality=tuple(rows))


def everything() -> Results:
    """Results for which there is every plot but that of a sweep."""
    names = [f"c{place}" for place in range(9)]
    stages = {"encoder": (4e10, 4e7, 0.2), "decoder": (6e10, 6e7, 0.25)}
    timings = [timing(name, mode, 0.1 + place % 4, 0.2 + place) for place, name in enumerate(names)
               for mode in ("cpuN", "cpu1", "paper")]  # fmt: skip
    timings += [timing(name, "throughput", 0.3 * batch**0.8, batch=batch) for name in names for batch in (1, 2, 4)]
    timings += streamed("c0", 1.0) + streamed("c8", 1.1)
    made = roofline(stages)
    return replace(
        made, contenders=(record("a"), *(record(name, weights="random") for name in names)), timings=tuple(timings)
    )


def placed(text: str) -> dict[str, tuple[float, float]]:
    """Where each text of an SVG stands, in points from the upper left."""
    return {
        "".join(element.itertext()): (float(element.get("x", "nan")), float(element.get("y", "nan")))
        for element in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
    }


def written(text: str) -> str:
    """All that can be read in an SVG."""
    return "\n".join(placed(text))
