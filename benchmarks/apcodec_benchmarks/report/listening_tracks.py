"""The clips of the listening page: what each contender made of a clip, to hear, to see and in figures, as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from apcodec_benchmarks.measurements import ContenderRecord, Quality
from apcodec_benchmarks.report.listening_figures import (
    ORIGINAL,
    RANDOM,
    MetricColumn,
    best,
    escaped,
    is_ranked,
    number,
    rate,
    shown,
    title_of,
)
from apcodec_benchmarks.report.spectrogram import HEIGHT, RANGE_DB, WIDTH, levels, picture, ticks
from apcodec_benchmarks.results import Results
from apcodec_deploy.errors import BenchmarkError

_FULL_SCALE = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The original, or one contender's version of it.

    Attributes:
        name: The contender's name; ``original`` for the original.
        title: For people.
        samples: (N,), int16, as they are heard; None where there is no audio.
        record: The contender; None where the results do not know it.
        quality: Its figures; None where there are none.
        notes: What a listener should know.
    """

    name: str
    title: str
    samples: NDArray[np.int16] | None = None
    record: ContenderRecord | None = None
    quality: Quality | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_audible(self) -> bool:
        """Whether there is something to hear."""
        return self.samples is not None


def tracks_of(
    file: str, original: NDArray[np.float32], decoded: Mapping[str, NDArray[np.float32]], results: Results
) -> list[Track]:
    """The original and then every contender, in the order of the results; those without audio say why."""
    records = {record.name: record for record in results.contenders}
    samples, notes = quantized(original)
    tracks = [Track(name="original", title=ORIGINAL, samples=samples, notes=notes)]
    for name in dict.fromkeys([*records, *decoded]):
        record = records.get(name)
        quality = next((row for row in results.quality if row.contender == name and row.file == file), None)
        title = title_of(record) if record else name
        heard, notes = None, _why_silent(record, quality)
        if name in decoded:
            heard, notes = quantized(decoded[name])
            notes = (*_level(heard, samples), *notes)
            if quality and quality.problem:
                notes = (*notes, f"no figures: {quality.problem}")
            if record and not is_ranked(record):
                notes = (*notes, RANDOM)
        tracks.append(Track(name=name, title=title, samples=heard, record=record, quality=quality, notes=notes))
    return tracks


def quantized(audio: NDArray[np.float32]) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Round to 16 bits, the inverse of reading them; and say what could not be kept."""
    finite = np.isfinite(audio)
    beyond = int((np.abs(audio[finite]) > 1).sum())
    scaled = np.rint(np.where(finite, audio, 0).astype(np.float64) * _FULL_SCALE)
    notes = []
    if beyond:
        notes.append(f"{beyond} {'sample' if beyond == 1 else 'samples'} beyond full scale clipped")
    if not finite.all():
        notes.append(f"{int((~finite).sum())} samples that are no numbers silenced")
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16), tuple(notes)


def flac(samples: NDArray[np.int16], sample_rate: int) -> bytes:
    """Compress without loss.

    Raises:
        BenchmarkError: FLAC has no such sample rate.
    """
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    except (soundfile.SoundFileError, ValueError) as error:
        raise BenchmarkError(f"audio at {sample_rate} Hz cannot be kept as FLAC ({error}); resample it") from error
    return file.getvalue()


def _why_silent(record: ContenderRecord | None, quality: Quality | None) -> tuple[str, ...]:
    reason = (quality and quality.problem) or (record and record.problem)
    return (f"no audio: {reason}" if reason else "no audio",)


def _level(heard: NDArray[np.int16], original: NDArray[np.int16]) -> tuple[str, ...]:
    """How much louder than the original, by the power of the whole clip."""
    powers = [float(np.mean(each.astype(np.float64) ** 2)) for each in (heard, original)]
    if min(powers) == 0:
        return ("silent",) if powers[0] == 0 else ()
    return (f"level {10 * np.log10(powers[0] / powers[1]):+.1f} dB".replace("-0.0", "+0.0"),)


def section(index: int, file: str, sample_rate: int, tracks: Sequence[Track], columns: Sequence[MetricColumn]) -> str:
    """One clip with its transport, its tracks and the place of its blind test.

    Buttons are hidden until the script that makes them work has started; without it, browsers' own players do.
    """
    original = tracks[0].samples
    assert original is not None
    top = float(_levels(original, sample_rate).max()) if original.any() else 0.0
    winners = {
        column.name: best(
            {
                track.name: track.quality.metrics.get(column.name)
                for track in tracks
                if track.quality and is_ranked(track.record)
            },
            column,
        )
        for column in columns
    }
    rows: list[str] = []
    audible = 0
    for track in tracks:
        figures = _figures(track, columns, winners)
        if track.samples is None:
            rows.append(f'<li class="track silent"><div class="who">{_name(track)}{figures}</div></li>')
            continue
        image = base64.b64encode(picture(_levels(track.samples, sample_rate), top)).decode("ascii")
        audio = base64.b64encode(flac(track.samples, sample_rate)).decode("ascii")
        rows.append(
            f'<li class="track" data-track="{audible}"><div class="who">'
            f'<button type="button" class="choose" hidden><span aria-hidden="true"></span></button>'
            f"{_name(track)}{figures}</div>"
            f'<div class="picture"><img width="{WIDTH}" height="{HEIGHT}" alt="Spectrogram of {escaped(track.title)}, '
            f'0 to {rate(sample_rate / 2)}" src="data:image/png;base64,{image}">{_axis(sample_rate)}'
            '<span class="cursor" hidden></span></div>'
            f'<audio controls preload="none" src="data:audio/flac;base64,{audio}"></audio></li>'
        )
        audible += 1
    seconds, place = len(original) / sample_rate, f"clip-{index + 1}"
    return (
        f'<section class="clip" id="{place}" tabindex="-1" data-clip="{index}" aria-labelledby="{place}-name">'
        f'<h3 id="{place}-name"><bdi>{escaped(file)}</bdi></h3>'
        f'<p class="about">{seconds:.2f} s at {rate(sample_rate)}. Colours: from the loudest of the original '
        f"({top:.0f} dB of full scale) to {RANGE_DB:.0f} dB below it, the same for all.</p>"
        '<div class="transport" hidden>'
        '<button type="button" class="play"><span aria-hidden="true"></span></button>'
        f'<input type="range" class="seek" min="0" max="{seconds:.6f}" step="any" value="0" aria-label="Position">'
        f'<output class="time">0.0 / {seconds:.1f} s</output>'
        '<label><input type="checkbox" class="loop"> Loop</label>'
        '<button type="button" class="open-blind">Blind test</button>'
        '<span class="state" role="status"></span></div>'
        f'<ul class="tracks">{"".join(rows)}</ul><div class="blind" hidden></div></section>'
    )


def _levels(samples: NDArray[np.int16], sample_rate: int) -> NDArray[np.float32]:
    return levels(np.asarray(samples / _FULL_SCALE, np.float32), sample_rate)


def _name(track: Track) -> str:
    notes = "".join(f"<small>{escaped(note)}</small>" for note in track.notes)
    identity = f"<small>{escaped(track.name)}</small>" if shown(track.name) != shown(track.title) else ""
    return f'<div class="name"><bdi>{escaped(track.title)}</bdi>{identity if track.record else ""}{notes}</div>'


def _figures(track: Track, columns: Sequence[MetricColumn], winners: Mapping[str, set[str]]) -> str:
    quality = track.quality
    if quality is None or quality.problem:
        return ""
    items = []
    for column in columns:
        if column.name in quality.metrics:
            text = number(quality.metrics[column.name], column.digits)
            bold = f"<strong>{text}</strong>" if track.name in winners[column.name] else text
            items.append((escaped(column.title), bold))
    if quality.agreement:
        share = " ".join(f"{100 * value:.1f}" for value in quality.agreement)
        items.append((f"Codes as {escaped(quality.against or 'the other')}", f"{share} %"))
    if not items:
        return ""
    kind = "figures" if is_ranked(track.record) else "figures unranked"
    return f'<dl class="{kind}">' + "".join(f"<div><dt>{a}</dt><dd>{b}</dd></div>" for a, b in items) + "</dl>"


def _axis(sample_rate: int) -> str:
    labels = "".join(
        f'<text x="4" y="{100 * place:.1f}%">{frequency / 1000:g}k</text>' for frequency, place in ticks(sample_rate)
    )
    return f'<svg class="axis" aria-hidden="true">{labels}</svg>'
