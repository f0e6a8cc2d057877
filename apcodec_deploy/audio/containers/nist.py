"""NIST SPHERE, as speech corpora of old come: a header of text, then samples up to the end."""

from __future__ import annotations

import re
from collections.abc import Generator

from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.containers.source import Source
from apcodec_deploy.audio.containers.view import View

_COUNT = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)


def walk(source: Source, start: int) -> Generator[Part, None, int]:
    """All from ``start`` to the end, which libsndfile reads whatever the header says, and then that end."""
    end = source.reached
    count = _COUNT.search(source.read(start, 1024))
    yield Part(View(source, [(start, end - start)]), declared=int(count[1]) if count else None)
    return end
