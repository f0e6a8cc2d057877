"""One continuous stream of audio in a file."""

from __future__ import annotations

from dataclasses import dataclass

from apcodec_deploy.audio.containers.view import View


@dataclass(frozen=True, slots=True)
class RawForm:
    """What libsndfile has to be told of samples without a header.

    Attributes:
        sample_rate: Hz.
        channels: Channels.
        subtype: libsndfile's name of how a sample is stored.
        endian: libsndfile's name of the order of bytes.
    """

    sample_rate: int
    channels: int
    subtype: str
    endian: str


@dataclass(slots=True)
class Part:
    """One continuous stream of audio. A file holds one, or several one after the other.

    Attributes:
        view: Its bytes, as libsndfile is to see them.
        raw: How its samples are stored, where the view has no header.
        skip: Samples at its start that are the encoder's, not the sound's.
        lead: Samples that have to be read before one that was sought, so that it is right.
        samples: Samples of each channel after these; None as long as only libsndfile can tell, or nobody.
        declared: Samples that it says it has, if they have to be compared with those that come.
        order: Where each channel of WAV's order stands in it; None if in the same place.
        settled: Whether what follows needs to be looked for only once all of it has been read.
        strange: Whether nothing is known of it but what libsndfile makes of it.
    """

    view: View
    raw: RawForm | None = None
    skip: int = 0
    lead: int = 0
    samples: int | None = None
    declared: int | None = None
    order: tuple[int, ...] | None = None
    settled: bool = False
    strange: bool = False
