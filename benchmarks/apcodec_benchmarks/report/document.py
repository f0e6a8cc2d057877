"""Summaries of results inside documents, between marks, so that a document cannot say what was not measured."""

from __future__ import annotations

import re
from collections.abc import Mapping

from apcodec_benchmarks.report.tables import summary
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

_PART = re.compile(
    r"(?P<begin><!-- bench (?P<name>[^\r\n]+?) -->(?P<end>\r?\n))(?:(?!<!-- bench ).)*?(?P<close><!-- /bench -->)",
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
        return match["begin"] + summary(results[name]).replace("\n", match["end"]) + match["close"]

    return _PART.sub(replaced, text)
