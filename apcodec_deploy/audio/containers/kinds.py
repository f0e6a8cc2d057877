"""What kind of audio file begins with which bytes."""

from __future__ import annotations

from apcodec_deploy.audio.containers.source import Source

CHUNKED = frozenset(("WAV", "RIFX", "AIFF", "W64", "CAF", "AU"))
"""Kinds whose header says how many bytes of audio follow."""
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


def kind_at(source: Source, at: int) -> str | None:
    """The kind of file that begins at ``at``; None if none that is known by its first bytes."""
    head = source.read(at, 16)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX") and head[8:12] == b"WAVE":
        return "RIFX" if head[:4] == b"RIFX" else "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head == _W64:
        return "W64"
    if head[:5] == b"OggS\0":
        return "OGG"
    if head[:8] in (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"):  # STREAMINFO comes first and may be alone
        return "FLAC"
    return {b"caff": "CAF", b".snd": "AU", b"dns.": "AU", b"NIST": "NIST"}.get(head[:4])
