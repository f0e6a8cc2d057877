"""Make the audio that the demo model is trained on: speech synthesisers, soundfonts, noise, rooms and mixtures.

    apt-get install espeak-ng flite festival festvox-us-slt-hts festvox-kallpc16k festvox-kdlpc16k festvox-italp16k \
        festvox-itapc16k festvox-suopuhe-lj festvox-suopuhe-mv festvox-ca-ona-hts fluidsynth fluid-soundfont-gm \
        timgm6mb-soundfont musescore-general-soundfont-small wamerican wngerman wfrench wspanish witalian
    .venv/bin/pip install mido
    .venv/bin/python scripts/training_audio.py FOLDER --clips 1500 --jobs 2

All of it is made here; nothing is a recording, so the weights that come of it may be shipped. Clip N is made from seed
N alone: any number of processes makes the same folder, and a clip that is there is not made again. Clips are mono FLAC,
48 kHz, 16 bits. The speech synthesisers end at 8 to 16 kHz, so what lies above is made from noise that follows the
level of the highest octave there is, as breath and hiss do in a recorded voice.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import mido
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

RATE = 48_000
Audio = NDArray[np.float64]
Random = np.random.Generator

# fmt: off
ESPEAK = (
    "en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "de", "fr-fr", "es", "it", "nl", "pl", "pt", "pt-br", "sv",
    "da", "nb", "fi", "cs", "sk", "hu", "ro", "tr", "el", "ru", "uk", "hr", "sr", "et", "lv", "lt", "id", "sw",
    "vi", "ja", "ko", "hi", "eu", "ca",
)
ESPEAK_VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "Alex", "Alicia", "Andrea",
    "Andy", "Annie", "Denis", "Diogo", "Gene", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike",
    "Nguyen", "adam", "anika", "antonio", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward",
    "gustave", "iven", "john", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "linda", "marcelo", "max",
    "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "steph", "travis",
    "victor", "whisper", "whisperf",
)
# fmt: on
FLITE = ("awb", "kal16", "rms", "slt")
FESTIVAL = {
    "cmu_us_slt_arctic_hts": "american-english",
    "kal_diphone": "american-english",
    "ked_diphone": "american-english",
    "lp_diphone": "italian",
    "pc_diphone": "italian",
    "suo_fi_lj_diphone": "italian",
    "hy_fi_mv_diphone": "italian",
    "upc_ca_ona_hts": "spanish",
}
WORDS = {"de": "ngerman", "fr": "french", "es": "spanish", "it": "italian", "ca": "spanish", "pt": "spanish"}
SOUNDFONTS = (
    Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),
    Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
)


@cache
def words(language: str) -> tuple[str, ...]:
    found = Path("/usr/share/dict", language).read_text(encoding="utf-8").split()
    return tuple(word for word in found if word.isalpha() and 2 < len(word) < 13)


def sentence(random: Random, language: str, length: int) -> str:
    chosen = [str(word) for word in random.choice(words(language), length)]
    for index in range(4, length - 2, 5):
        chosen[index] += str(random.choice([",", "", ";", ""]))
    return " ".join(chosen).capitalize() + str(random.choice([".", ".", "?", "!"]))


def run(command: list[str], text: str | None = None) -> bytes:
    return subprocess.run(command, input=text.encode() if text else None, capture_output=True, check=True).stdout


def voice(random: Random) -> Audio:
    """A sentence or two of one voice at 48 kHz, with something above where the synthesiser ends."""
    engine = random.choice(["espeak", "espeak", "flite", "festival"])
    length = int(random.integers(9, 16))
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "voice.wav")
        if engine == "espeak":
            language = str(random.choice(ESPEAK))
            text = sentence(random, WORDS.get(language[:2], "american-english"), length)
            # Slow and deep, to be played faster: so these voices reach above 11 kHz.
            pitch, speed = str(random.integers(0, 70)), str(random.integers(95, 150))
            name = f"{language}+{random.choice(ESPEAK_VARIANTS)}"
            run(["espeak-ng", "-v", name, "-p", pitch, "-s", speed, "-w", str(target), text])
            faster = random.uniform(0.95, 1.7)
        elif engine == "flite":
            text = sentence(random, "american-english", length)
            run(["flite", "-voice", str(random.choice(FLITE)), "-t", text, "-o", str(target)])
            faster = random.uniform(0.85, 1.3)
        else:
            name = str(random.choice(list(FESTIVAL)))
            text = sentence(random, FESTIVAL[name], length)
            plain = text.encode("ascii", "ignore").decode()
            run(["text2wave", "-eval", f"(voice_{name})", "-o", str(target)], plain)
            faster = random.uniform(0.85, 1.3)
        audio, rate = soundfile.read(target)
    played = rate * faster
    audio = soxr.resample(audio, played, RATE, quality="HQ")
    audio = audio / (np.abs(audio).max() + 1e-9)
    return breath(audio, 0.46 * played, random) if random.random() < 0.85 else audio


def breath(audio: Audio, end: float, random: Random) -> Audio:
    """Add noise from ``end`` Hz up that follows the octave below it."""
    if end > 0.45 * RATE:
        return audio
    octave = sosfilt(butter(4, [end / 2, end], "bandpass", fs=RATE, output="sos"), audio)
    smoothing = np.exp(-1 / (RATE * random.uniform(0.001, 0.004)))
    level = np.sqrt(np.maximum(lfilter([1 - smoothing], [1, -smoothing], octave**2), 0))
    noise = sosfilt(butter(6, end, "highpass", fs=RATE, output="sos"), random.normal(size=len(audio)))
    slope = butter(1, random.uniform(end, RATE / 2.1), "lowpass", fs=RATE, output="sos")
    return audio + sosfilt(slope, noise) * level * 10 ** (random.uniform(-12, 6) / 20)


def music(random: Random, seconds: float) -> Audio:
    """Random notes: a melody, chords, a bass and drums, some of them left out."""
    song = mido.MidiFile(ticks_per_beat=480)
    tempo = mido.bpm2tempo(int(random.integers(60, 170)))
    beats = int(seconds * 1e6 / tempo) + 2
    root, scale = int(random.integers(40, 65)), [0, 2, 4, 5, 7, 9, 11, 12, 14, 16]
    if random.random() < 0.4:
        scale = [0, 2, 3, 5, 7, 8, 10, 12, 14, 15]
    for channel, part in enumerate(("melody", "chords", "bass", "drums", "lead")):
        if part != "melody" and random.random() < 0.45:
            continue
        track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo)])
        song.tracks.append(track)
        channel = 9 if part == "drums" else channel
        track.append(mido.Message("program_change", channel=channel, program=int(random.integers(0, 104))))
        volume, passed = int(random.integers(40, 110)), 0.0
        while passed < beats:
            length = float(random.choice([0.25, 0.5, 0.5, 1, 2] if part != "chords" else [1, 2, 4]))
            start = scale[int(random.integers(len(scale)))]
            notes = {"chords": [root + start, root + start + 4, root + start + 7], "bass": [root + start - 24]}.get(
                part, [root + start + 12 * int(random.integers(0, 2))]
            )
            if part == "drums":
                notes = [int(random.choice([36, 38, 42, 46, 49, 51, 45, 54]))]
            ticks = int(length * 480)
            for note in notes if random.random() < 0.85 else []:
                velocity = int(np.clip(volume + random.normal(0, 12), 15, 127))
                track.append(mido.Message("note_on", channel=channel, note=note, velocity=velocity))
            track.append(mido.Message("control_change", channel=channel, control=1, value=0, time=ticks))
            for note in notes:
                track.append(mido.Message("note_off", channel=channel, note=note))
            passed += length
    with tempfile.TemporaryDirectory() as directory:
        midi, target = Path(directory, "song.mid"), Path(directory, "song.wav")
        song.save(midi)
        font = str(random.choice([str(path) for path in SOUNDFONTS]))
        run(["fluidsynth", "-ni", "-q", "-r", str(RATE), "-g", "0.6", "-F", str(target), font, str(midi)])
        audio, _ = soundfile.read(target, always_2d=True)
    return np.asarray(audio.mean(axis=1))


def sounds(random: Random, seconds: float) -> Audio:
    """Noise of some colour with bursts, sweeps and tones."""
    size = int(seconds * RATE)
    time = np.arange(size) / RATE
    band = np.sort(random.uniform(50, RATE / 2.1, 2)) + np.array([0, 200])
    band[1] = min(band[1], RATE / 2.05)
    audio = sosfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), random.normal(size=size))
    audio *= 0.2 + np.abs(np.interp(time, np.linspace(0, seconds, 20), random.normal(size=20)))
    for _ in range(int(random.integers(1, 6))):
        low, high = random.uniform(60, 16_000, 2)
        frequency = low + (high - low) * time / seconds * (random.random() < 0.5)
        begin, length = random.uniform(0, seconds), random.uniform(0.1, 3)
        shape = np.clip((time - begin) / 0.01, 0, 1) * np.exp(-np.maximum(time - begin, 0) / length)
        audio += random.uniform(0.05, 0.6) * shape * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)
    return np.asarray(audio)


def room(audio: Audio, random: Random) -> Audio:
    """A small room: a few early echoes, then noise that dies away, darker with time."""
    decay = random.uniform(0.05, 0.5)
    size = int(RATE * decay * 1.2)
    time = np.arange(size) / RATE
    tail = random.normal(size=size) * np.exp(-6.9 * time / decay)
    tail = sosfilt(butter(1, random.uniform(2_000, 15_000), "lowpass", fs=RATE, output="sos"), tail)
    tail *= random.uniform(0.05, 0.4) / np.sqrt(np.sum(tail**2))
    tail[0] += 1
    return np.asarray(fftconvolve(audio, tail)[: len(audio)])


def microphone(audio: Audio, random: Random) -> Audio:
    """What a recording adds: a tilt, an end of the band, a floor of noise, a level."""
    if random.random() < 0.5:
        corner, gain = random.uniform(300, 8_000), random.uniform(-0.6, 1.5)
        audio = audio + gain * sosfilt(butter(1, corner, "highpass", fs=RATE, output="sos"), audio)
    if random.random() < 0.15:
        corner = random.uniform(6_000, 20_000)
        audio = sosfilt(butter(8, corner, "lowpass", fs=RATE, output="sos"), audio)
    audio = sosfilt(butter(2, random.uniform(20, 90), "highpass", fs=RATE, output="sos"), audio)
    audio = audio / (np.abs(audio).max() + 1e-9) * 10 ** (random.uniform(-20, -1) / 20)
    if random.random() < 0.8:
        floor = random.normal(size=len(audio)) * 10 ** (random.uniform(-95, -45) / 20)
        if random.random() < 0.6:
            floor = lfilter([1], [1, -random.uniform(0.3, 0.95)], floor)
        audio = audio + floor
    return np.clip(audio, -1, 1)


def clip(seed: int) -> Audio:
    """Clip ``seed``: two thirds are speech, the rest music, sounds, and mixtures of them."""
    random = np.random.default_rng(seed)
    kind = random.random()
    if kind < 0.68:
        audio = voice(random)
    elif kind < 0.86:
        audio = music(random, random.uniform(6, 12))
    elif kind < 0.90:
        audio = sounds(random, random.uniform(4, 8))
    else:
        first = voice(random)
        other: Callable[[], Audio] = lambda: music(random, len(first) / RATE)  # noqa: E731
        second = voice(random) if random.random() < 0.4 else other()
        size = min(len(first), len(second))
        second = second[:size] / (np.abs(second).max() + 1e-9)
        audio = first[:size] + second * 10 ** (random.uniform(-20, 0) / 20)
    if random.random() < 0.4:
        audio = room(audio, random)
    return microphone(audio, random)


def make(seed: int, folder: Path) -> tuple[float, str | None]:
    target = folder / f"{seed:05d}.flac"
    if target.exists():
        return soundfile.info(target).duration, None
    try:
        audio = clip(seed)
    except FileNotFoundError as error:
        return 0.0, f"clip {seed}: {error.filename} is not installed; see the top of this script"
    except (subprocess.CalledProcessError, soundfile.SoundFileError) as error:
        return 0.0, f"clip {seed}: {error}"
    held = io.BytesIO()
    soundfile.write(held, audio[: 15 * RATE], RATE, format="FLAC", subtype="PCM_16")
    part = target.with_suffix(".part")
    part.write_bytes(held.getvalue())
    part.rename(target)
    return min(15.0, len(audio) / RATE), None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    total, failed = 0.0, 0
    with ProcessPoolExecutor(options.jobs) as pool:
        tasks = [pool.submit(make, seed, options.folder) for seed in range(options.clips)]
        for done, task in enumerate(as_completed(tasks), start=1):
            seconds, problem = task.result()
            total += seconds
            if problem:
                print(problem)
                failed += 1
            if done % 50 == 0 or done == len(tasks):
                print(f"{done} of {len(tasks)} clips, {total / 3600:.2f} h", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
