"""All the audio of a file, one continuous stream after the other."""

from __future__ import annotations

from collections.abc import Iterator

from apcodec_deploy.audio.containers import extent, flac, mpeg, nist, ogg
from apcodec_deploy.audio.containers.kinds import CHUNKED, kind_at
from apcodec_deploy.audio.containers.part import Part
from apcodec_deploy.audio.containers.source import Source, holds
from apcodec_deploy.audio.containers.tags import after_tags
from apcodec_deploy.audio.containers.view import View
from apcodec_deploy.audio.containers.voc import MAGIC, check_voc


def parts(source: Source) -> Iterator[Part]:
    """The parts of a file or a pipe. What follows one is looked for only when the next is asked for.

    A file of a kind that is not known here is one part, all of it. From a pipe nothing comes then.

    Raises:
        AudioError: A part was cut or damaged, or holds something else than it says.
    """
    start = at = after_tags(source, 0)
    if not holds(source, start):
        start = at = 0
    while True:
        kind = kind_at(source, at)
        if kind in CHUNKED:
            at = yield from extent.walk(source, at, kind)
        elif kind == "OGG":
            at = yield from ogg.walk(source, at)
        elif kind == "FLAC":
            at = yield from flac.walk(source, at)
        elif kind == "NIST" and source.size is not None:
            at = yield from nist.walk(source, at)
        elif (begin := mpeg.first_frame(source, at)) is not None:
            at = yield from mpeg.walk(source, begin)
        elif at == start and source.size is not None:
            if source.read(at, len(MAGIC)) == MAGIC:
                check_voc(source, at)
            yield Part(View(source, [(at, source.size - at)]), strange=True)
            return
        else:
            return  # what follows is of no kind of audio
        at = after_tags(source, at)
        if not holds(source, at):
            return
