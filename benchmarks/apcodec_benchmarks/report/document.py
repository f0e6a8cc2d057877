"""Summaries of results inside documents, between marks, so that a document cannot say what was not measured.

``<!-- bench NAME -->`` begins the whole table of one results file; ``<!-- bench NAME: a, b -->`` a short table of the
speed of the contenders a and b. ``<!-- /bench -->`` ends either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from apcodec_benchmarks.report.tables import short_summary, summary
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

_PART = re.compile(
    r"(?P<begin><!-- bench (?P<name>[^\r\n:]+?)(?:: (?P<short>[^\r\n]+?))? -->(?P<end>\r?\n))"
    r"(?:(?!<!-- bench ).)*?(?P<close><!-- /bench -->)",
    re.DOTALL,
)
"""A part that is never closed ends nowhere, rather than in the next one."""


def updated(text: str, results: Mapping[str, Results]) -> str:
    """A document with the summary of each results between their marks.

    Args:
        text: The document.
        results: By the name that stands in its mark.

    Raises:
        BenchmarkError: It has no mark for one of them.
    """
    found = {match["name"] for match in _PART.finditer(text)}
    if missing := sorted(set(results) - found):
        raise BenchmarkError(
            f"the document has no mark for {', '.join(missing)}; put '<!-- bench {missing[0]} -->' and "
            "'<!-- /bench -->' on lines of their own"
        )

    def replaced(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in results:
            return match[0]
        chosen = match["short"]
        text = summary(results[name]) if chosen is None else short_summary(results[name], chosen.split(", "))
        return match["begin"] + text.replace("\n", match["end"]) + match["close"]

    return _PART.sub(replaced, text)
