"""One HTML file to hear contenders side by side, and to test blindly whether anybody can tell them apart."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_benchmarks.report.listening_figures import (
    MetricColumn,
    chart,
    columns_of,
    definitions,
    escaped,
    header,
    shown,
    table,
)
from apcodec_benchmarks.report.listening_tracks import Track, section, tracks_of
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError
from apcodec_deploy.files import written_whole

MAX_BYTES = 100_000_000
"""Of a page, unless somebody says otherwise: browsers open larger ones, but not gladly."""
_STYLE = "listening.css"
_SCRIPTS = ("listening_transport.js", "listening_players.js", "listening_blind.js", "listening_start.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One clip and what each contender made of it.

    Attributes:
        file: Its name, as in the results' quality.
        sample_rate: Hz, of all its audio.
        original: (N,), mono, full scale at 1.
        decoded: (N,) by contender; one that failed is absent.
    """

    file: str
    sample_rate: int
    original: NDArray[np.float32]
    decoded: Mapping[str, NDArray[np.float32]]

    def check(self) -> None:
        """Refuse audio that cannot be compared.

        Raises:
            BenchmarkError: There are no samples, several channels, or other lengths than the original's.
        """
        for name, audio in (("the original", self.original), *self.decoded.items()):
            if audio.ndim != 1 or len(audio) == 0:
                raise BenchmarkError(
                    f"{shown(name)} of {shown(self.file)} has the shape {audio.shape}; (N,) is expected, N at least 1"
                )
            if len(audio) != len(self.original):
                raise BenchmarkError(
                    f"{shown(name)} of {shown(self.file)} has {len(audio)} samples, its original {len(self.original)}; "
                    "trim or extend it to the original's length"
                )


def write_listening_report(
    target: Path,
    results: Results,
    clips: Sequence[Listening],
    *,
    speed: Results | None = None,
    metrics: Sequence[MetricColumn] | None = None,
    overwrite: bool = False,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write the page, whole or not at all. It holds all that it needs and asks nobody for anything.

    Audio is kept as 16-bit FLAC at the clip's rate and its own level; samples beyond full scale are clipped, counted.

    Args:
        target: The file.
        results: The contenders and their quality.
        clips: What there is to hear, in this order.
        speed: Where the RTF comes from; ``results`` where None.
        metrics: Which metrics are shown, and how; all that the results hold, unranked, where None.
        overwrite: Whether an existing file may be replaced.
        max_bytes: How large the page may get.

    Raises:
        BenchmarkError: There is no clip, a clip's audio cannot be compared, or the page would be too large.
        MissingDependencyError: matplotlib is not installed.
        OutputError: The target exists and may not be replaced, or cannot be written.
    """
    if not clips:
        raise BenchmarkError("there is no clip to listen to; give at least one file")
    with written_whole(target, overwrite=overwrite) as temporary:  # first, so that no work is done for nothing
        columns = columns_of(results) if metrics is None else tuple(metrics)
        sections, data, size = [], [], 0
        for index, clip in enumerate(clips):
            clip.check()
            tracks = tracks_of(clip.file, clip.original, clip.decoded, results)
            sections.append(section(index, clip.file, clip.sample_rate, tracks, columns))
            data.append(_data(clip, tracks))
            size += len(sections[-1])
            if size > max_bytes:
                raise BenchmarkError(
                    f"a page with the first {index + 1} of {len(clips)} clips takes {size / 1e6:.3g} MB, more than "
                    f"{max_bytes / 1e6:.3g} MB; give fewer or shorter clips, or fewer contenders"
                )
        page = _page(results, speed, columns, sections, data)
        temporary.write_text(page, encoding="utf-8")


def _data(clip: Listening, tracks: Sequence[Track]) -> dict[str, Any]:
    """What the script has to know of a clip."""
    return {
        "file": shown(clip.file),
        "rate": clip.sample_rate,
        "samples": len(clip.original),
        "tracks": [{"name": shown(track.name), "title": shown(track.title)} for track in tracks if track.is_audible],
    }


def _page(
    results: Results,
    speed: Results | None,
    columns: Sequence[MetricColumn],
    sections: Sequence[str],
    data: Sequence[Mapping[str, Any]],
) -> str:
    timed = speed if speed is not None else results
    style = _text(_STYLE)
    script = "".join(["'use strict';\n", *(_text(name) for name in _SCRIPTS)])
    speed_chart = chart(results, timed)
    return Template(_text("listening.html")).substitute(
        policy=escaped(_policy(style, script)),
        style=style,
        script=script,
        data=_json({"made": shown(results.made), "command": shown(results.command), "clips": data}),
        header=header(results, speed, len(sections)),
        definitions=definitions(columns, bool(speed_chart)),
        table=table(results, timed, columns),
        chart=speed_chart,
        clips="\n".join(sections),
    )


def _text(name: str) -> str:
    return (resources.files("apcodec_benchmarks.report") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may do: show and play what is in it, and run this very script."""
    hashes = {
        kind: "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        for kind, text in (("style", style), ("script", script))
    }
    return (
        f"default-src 'none'; img-src data:; media-src data:; style-src '{hashes['style']}'; "
        f"script-src '{hashes['script']}'; base-uri 'none'; form-action 'none'"
    )


def _json(values: object) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(values, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
