"""Which packages of Debian hold recordings to train on, whose voice each file is, and what is never trained on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["speech", "narrow_speech", "music", "effects"]

HELD_OUT = re.compile(
    r"alsa-utils|tuxpaint.*|sound-theme-freedesktop|yaru-theme-sound|ukui-media|.*vctk.*", re.IGNORECASE
)
"""Packages that are never trained on: they are what models are measured with, or may carry the same voices. Nor is
anything that the authors of APCodec published, which no package holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Recordings of one kind in one package.

    Attributes:
        package: Its name.
        kind: Of all of them. ``narrow_speech`` ends below 12 kHz.
        folder: Where they are in the unpacked package, or in ``archive``.
        voice: The name of the voice (the piece, the set of sounds) of a file, by its path below ``folder``. Files of
            one name are joined, and are all trained on or all validated with.
        validation: Voices that are kept for validation.
        licence: Of the recordings, in short; the package's own text goes with the data.
        archive: A zip file in the package that holds them.
        most_seconds: How much is taken of one file.
    """

    package: str
    kind: Kind
    folder: str
    voice: Callable[[PurePosixPath], str]
    licence: str
    validation: frozenset[str] = frozenset()
    archive: str | None = None
    most_seconds: float = 60.0

    def __post_init__(self) -> None:
        if HELD_OUT.fullmatch(self.package):
            raise ValueError(f"{self.package} is held out: nothing of it is trained on")


def first_folder(path: PurePosixPath) -> str:
    return path.parts[0]


def folders(path: PurePosixPath) -> str:
    return "-".join(path.parts[:-1])


def number(path: PurePosixPath) -> str:
    """Of a speaker, as the file's name."""
    return path.stem


def piece(path: PurePosixPath) -> str:
    """A piece of music; of some there are several files."""
    return path.parts[-2] if path.stem in ("song", "guitar", "rhythm") else path.stem


def package_voice(path: PurePosixPath) -> str:
    """One voice speaks all of them."""
    return "voice"


def fish(path: PurePosixPath) -> str:
    """The small fish, the big one, or who else is at home in a level."""
    parts = path.stem.split("-")
    speaker = parts[1] if len(parts) > 2 else "others"
    return {"m": "small", "v": "big"}.get(speaker, f"{path.parts[0]}-others")


MUSIC_SECONDS = 120.0
KDE_VALIDATION = frozenset({"lt", "uk", "gl"})
"""Of klettres and ktuberling alike: in many languages one person lent a voice to both."""
SOURCES = (
    Source(
        package="klettres-data",
        kind="speech",
        folder="usr/share/klettres",
        voice=first_folder,
        validation=KDE_VALIDATION,
        licence="GPL-2+",
    ),
    Source(
        package="ktuberling-data",
        kind="speech",
        folder="usr/share/ktuberling/sounds",
        voice=first_folder,
        validation=KDE_VALIDATION,
        licence="GPL-2+",
    ),
    Source(
        package="hedgewars-data",
        kind="speech",
        folder="usr/share/games/hedgewars/Data/Sounds/voices",
        voice=first_folder,
        validation=frozenset({"HillBilly", "Default_uk"}),
        licence="GFDL-1.3",
    ),
    Source(
        package="kajongg",
        kind="speech",
        folder="usr/share/kajongg/voices",
        voice=folders,
        validation=frozenset({"female2", "de-female2"}),
        licence="GPL-2+",
    ),
    Source(
        package="gcin-voice",
        kind="speech",
        folder="usr/share/gcin-voice/ogg",
        voice=number,
        licence="GPL-3 or LGPL-3, CC-BY-3.0",
    ),
    Source(
        package="fillets-ng-data-cs",
        kind="narrow_speech",
        folder="usr/share/games/fillets-ng/sound",
        voice=fish,
        validation=frozenset({"linux-others", "keys-others"}),
        licence="GPL-2+",
    ),
    Source(
        package="fillets-ng-data-nl",
        kind="narrow_speech",
        folder="usr/share/games/fillets-ng/sound",
        voice=fish,
        licence="GPL-2+",
    ),
    Source(
        package="festvox-ru",
        kind="narrow_speech",
        folder="usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav",
        voice=package_voice,
        licence="BSD-like",
    ),
    Source(
        package="hedgewars-data",
        kind="music",
        folder="usr/share/games/hedgewars/Data/Music",
        voice=piece,
        validation=frozenset({"Desert"}),
        licence="GPL-2",
        most_seconds=MUSIC_SECONDS,
    ),
    Source(
        package="fretsonfire-songs-muldjord",
        kind="music",
        folder="usr/share/games/fretsonfire/data/songs",
        voice=piece,
        licence="CC-BY-SA-3.0",
        most_seconds=MUSIC_SECONDS,
    ),
    Source(
        package="fretsonfire-songs-sectoid",
        kind="music",
        folder="usr/share/games/fretsonfire/data/songs",
        voice=piece,
        licence="MIT-like",
        most_seconds=MUSIC_SECONDS,
    ),
    Source(
        package="wesnoth-1.16-music",
        kind="music",
        folder="usr/share/games/wesnoth/1.16/data/core/music",
        voice=piece,
        validation=frozenset({"love_theme", "sad"}),
        licence="GPL-2",
        most_seconds=MUSIC_SECONDS,
    ),
    Source(
        package="ufoai-music",
        kind="music",
        folder="music",
        voice=piece,
        licence="GPL-2+, CC-BY-3.0, CC-BY-SA-3.0",
        archive="usr/share/games/ufoai/base/0music.pk3",
        most_seconds=MUSIC_SECONDS,
    ),
    Source(
        package="hydrogen-drumkits",
        kind="effects",
        folder="usr/share/hydrogen/data/drumkits",
        voice=first_folder,
        validation=frozenset({"ColomboAcousticDrumkit"}),
        licence="GPL-2+, CC0, CC-BY-3.0, CC-BY-SA-3.0",
    ),
    Source(
        package="sonic-pi-samples",
        kind="effects",
        folder="usr/share/sonic-pi/samples",
        voice=lambda path: path.stem.split("_")[0],
        licence="CC0, a few CC-BY-SA-4.0",
    ),
    Source(
        package="ufoai-sound",
        kind="effects",
        folder="sound",
        voice=folders,
        licence="GPL-2+, CC-BY-3.0, CC-BY-SA-3.0",
        archive="usr/share/games/ufoai/base/0snd.pk3",
    ),
    Source(
        package="qabcs-data",
        kind="effects",
        folder="usr/share/qabcs/abcs/all/noises",
        voice=package_voice,
        licence="GPL-3+, CC0, public domain",
    ),
)
