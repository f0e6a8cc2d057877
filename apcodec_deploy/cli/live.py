"""``apcodec live``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from apcodec_deploy.audio.blocks import regrouped
from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.bundle import STREAMABLE_DEMO
from apcodec_deploy.cli import options as shared
from apcodec_deploy.cli.aside import aside
from apcodec_deploy.cli.console import print_json, result, say
from apcodec_deploy.cli.meter import Meter
from apcodec_deploy.codec import load
from apcodec_deploy.live.card import Card, DeviceName, devices, open_card
from apcodec_deploy.live.echo import Echo
from apcodec_deploy.transcoding.watch import Watch


def live(
    file: Annotated[
        Path | None, typer.Option("--file", readable=False, help="Play this audio file instead of the microphone.")
    ] = None,
    microphone: Annotated[
        str | None, typer.Option("--input", help="The microphone: its number, or a part of its name.")
    ] = None,
    speaker: Annotated[str | None, typer.Option("--output", help="The speaker, likewise.")] = None,
    list_devices: Annotated[bool, typer.Option("--devices", help="List the sound devices, and end.")] = False,
    tokens: Annotated[int, typer.Option("--tokens", min=1, max=64, help="Tokens that are coded at a time.")] = 2,
    channels: Annotated[int, typer.Option("--channels", min=1, max=8, help="Channels of the microphone.")] = 1,
    seconds: Annotated[float | None, typer.Option("--seconds", min=0.1, help="End after so long.")] = None,
    model: Annotated[
        Path, typer.Option("--model", "-m", readable=False, help="A bundle of the family apcodec-s.")
    ] = Path(STREAMABLE_DEMO),
    backend: shared.BackendName = "auto",
    precision: shared.Precision = "auto",
    device: shared.Device = "auto",
    engines: shared.Engines = None,
    threads: shared.Threads = None,
    json: shared.Json = False,
) -> None:
    """Hear yourself through the codec: microphone in, speaker out. Ctrl-C ends it.

    It takes a model of the family apcodec-s. The screen shows levels, latency, and the time that coding takes. Use
    headphones, or the microphone hears the speaker.
    """
    if list_devices:
        result(devices())
        return
    with (
        load(
            model or STREAMABLE_DEMO, backend, device=device, precision=precision, threads=threads, engines=engines
        ) as codec,
        open_audio(file) if file is not None else nullcontext() as reader,
    ):
        rate, count = (codec.sample_rate, channels) if reader is None else (reader.sample_rate, reader.channels)
        echo = Echo(codec.encoder(rate, count), codec.decoder(channels=count), tokens)
        meter = Meter(echo.figures, f"{codec.bundle.name}, {count * codec.bitrate / 1000:g} kbit/s")

        def work(watch: Watch) -> None:
            with (
                open_card(
                    codec.sample_rate,
                    count,
                    listens=reader is None,
                    source=_named(microphone),
                    speaker=_named(speaker),
                ) as card,
                meter.shown(card),
            ):
                blocks = _heard(card, echo) if reader is None else regrouped(reader.blocks(), echo.block_samples)
                _play(echo, card, blocks, seconds, meter, watch)

        with suppress(KeyboardInterrupt):  # the way to end it
            aside(work)
    say(meter.summary())
    if json:
        print_json(meter.values())


def _play(
    echo: Echo, card: Card, blocks: Iterator[NDArray[np.float32]], seconds: float | None, meter: Meter, watch: Watch
) -> None:
    """Play what comes, until there is no more or it is enough."""
    card.play(np.zeros((echo.decoder.channels, echo.decoder.delay_samples), np.float32))
    for block in blocks:
        watch.heard(echo.figures.block_seconds)
        card.play(echo.push(block))
        meter.turn()
        if seconds is not None and echo.figures.blocks * echo.figures.block_seconds >= seconds:
            break
    card.play(echo.flush())


def _heard(card: Card, echo: Echo) -> Iterator[NDArray[np.float32]]:
    """What the microphone hears, for ever."""
    while True:
        yield card.heard(echo.block_samples)


def _named(device: str | None) -> DeviceName:
    """A device as PortAudio wants it: its number, or a part of its name."""
    return int(device) if device is not None and device.isdecimal() else device
