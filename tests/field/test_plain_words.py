"""What cannot be read or written is named by what it is, with what to do, not by a library's riddle."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from commands import apcodec
from field_clips import Read, both_ways, clip, from_path, from_pipe

from apcodec_deploy.audio.opening import open_audio
from apcodec_deploy.errors import AudioError


def mp4() -> bytes:
    """A second in MP4, as recorders write it: the index comes last."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        for start in range(0, 48_000, 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(clip()[:, start : start + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def page(packet: bytes, flags: int, number: int) -> bytes:
    """An Ogg page with one packet."""
    head = b"OggS\0" + bytes([flags]) + bytes(8) + struct.pack("<II", 7, number)
    rest = bytes([1, len(packet)]) + packet
    checksum = 0
    for byte in head + bytes(4) + rest:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    return head + struct.pack("<I", checksum) + rest


@both_ways
@pytest.mark.parametrize(
    ("begin", "told"),
    [(b"Speex   1.2", "Speex"), (b"\x80theora\3\2\1", "Theora"), (b"fishead\0", "no sound that is known")],
)
def test_ogg_of_a_kind_that_is_not_read(tmp_path: Path, read: Read, begin: bytes, told: str) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(page(begin + bytes(60), 2, 0) + page(bytes(20), 4, 1))
    with pytest.raises(AudioError, match=f"this Ogg holds {told}; Vorbis, Opus and FLAC are read, so convert it"):
        read(path)


@pytest.mark.parametrize("kept", [0.4, 0.95])
def test_an_mp4_that_was_cut_before_its_index(tmp_path: Path, kept: float) -> None:
    data = mp4()
    assert data.index(b"moov") > data.index(b"mdat")
    path = tmp_path / "a.m4a"
    path.write_bytes(data[: int(kept * data.index(b"moov"))])
    with pytest.raises(AudioError, match=r"a\.m4a: the file is cut: its index \(the box 'moov'\) is missing"):
        open_audio(path)


def test_ffmpegs_reason_has_no_number(tmp_path: Path) -> None:
    path = tmp_path / "a.webm"
    path.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 4)
    with pytest.raises(AudioError, match="cannot be read as audio") as caught:
        open_audio(path)
    assert "Errno" not in str(caught.value) and str(caught.value).count("a.webm") == 1


def test_an_aiff_that_describes_itself_at_its_end_is_read_from_a_file_only(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.aiff", clip()[0], 48_000, subtype="PCM_16")
    data = (tmp_path / "a.aiff").read_bytes()
    at, chunks = 12, []
    while at < len(data):
        size = struct.unpack_from(">I", data, at + 4)[0]
        chunks.append(data[at : at + 8 + size + size % 2])
        at += len(chunks[-1])
    path = tmp_path / "late.aiff"
    path.write_bytes(data[:12] + b"".join(sorted(chunks, key=lambda chunk: chunk.startswith(b"COMM"))))
    with open_audio(path) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks()), axis=1), clip())
    with pytest.raises(AudioError, match="if the format stands behind the sound, read it from a file, not from a pipe"):
        from_pipe(path)


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_an_output_folder_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", clip()[0], 48_000)
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    answer = apcodec("transcode", tmp_path / "a.wav", tmp_path / "out")
    assert answer.exit_code == 1
    assert f"out is a link to nothing ({tmp_path / 'disk'}); make that folder, or remove the link" in str(
        answer.exception
    )
    (tmp_path / "disk").mkdir()
    assert apcodec("transcode", tmp_path / "a.wav", tmp_path / "out").exit_code == 0


def test_an_mp4_with_a_box_that_is_not_known_is_left_to_ffmpeg(tmp_path: Path) -> None:
    data = mp4()
    end = int.from_bytes(data[:4], "big")
    path = tmp_path / "a.m4a"
    path.write_bytes(data[:end] + struct.pack(">I4s4x", 12, b"ab c") + data[end:])
    with open_audio(path) as reader:
        assert reader.sample_rate == 48_000


def voc(*blocks: tuple[int, bytes]) -> bytes:
    """A VOC file of blocks, each a type and what is in it."""
    head = b"Creative Voice File\x1a" + struct.pack("<HHH", 26, 0x010A, ~0x010A + 0x1234 & 0xFFFF)
    return head + b"".join(bytes([kind]) + struct.pack("<I", len(data))[:3] + data for kind, data in blocks) + b"\0"


SAMPLES = bytes(range(100, 150)) * 40
OLD = (1, bytes([256 - 1_000_000 // 8000, 0]) + SAMPLES)
NEW = (9, struct.pack("<IBBHI", 8000, 8, 1, 0, 0) + SAMPLES)


@pytest.mark.parametrize(("sound", "size"), [(OLD, "as it is"), (NEW, "as it is"), (NEW, "never filled in")])
def test_a_voc_of_one_block_is_read(tmp_path: Path, sound: tuple[int, bytes], size: str) -> None:
    path = tmp_path / "a.voc"
    data = voc((5, b"a comment\0"), sound)
    if size == "never filled in":
        at = data.index(sound[1])
        data = data[: at - 3] + bytes(3) + data[at:]
    path.write_bytes(data)
    with open_audio(path) as reader:
        audio = np.concatenate(list(reader.blocks()), axis=1)
    assert reader.sample_rate == 8000
    np.testing.assert_array_equal(np.round(audio[0] * 128 + 128)[:2000], np.tile(np.arange(100, 150), 40))
    assert audio.shape[1] == 2000


def test_a_voc_whose_size_ran_over_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.voc"
    soundfile.write(path, np.zeros(8_500_000, np.int16), 48_000, subtype="PCM_16")
    with open_audio(path) as reader:
        assert sum(block.shape[1] for block in reader.blocks()) == 8_500_000


@pytest.mark.parametrize("sound", [OLD, NEW])
@pytest.mark.parametrize(
    "other", [OLD, NEW, (2, bytes(9)), (3, b"\xe7\3\x83"), (4, b"\1\0"), (5, b"a text\0"), (77, b"")]
)
@pytest.mark.parametrize("behind", [True, False])
def test_a_voc_with_more_around_its_sound_is_refused(
    tmp_path: Path, sound: tuple[int, bytes], other: tuple[int, bytes], behind: bool
) -> None:
    if not behind and other[0] in (4, 5):
        pytest.skip("notes before a sound do no harm")
    path = tmp_path / "a.voc"
    path.write_bytes(voc(sound, other) if behind else voc(other, sound))
    with pytest.raises(AudioError, match=r"a\.voc: this VOC is not one block of sound up to its end"):
        open_audio(path)


def test_a_voc_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.voc"
    path.write_bytes(voc(NEW)[:-1000])
    with pytest.raises(AudioError, match="it is cut, or"):
        open_audio(path)


def test_a_million_notes_before_a_sound_are_not_walked(tmp_path: Path) -> None:
    path = tmp_path / "a.voc"
    path.write_bytes(voc()[:-1] + bytes((4, 0, 0, 0)) * 1_000_000 + voc(OLD)[26:])
    with pytest.raises(AudioError, match="is not one block of sound up to its end"):
        open_audio(path)


@both_ways
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_are_described_once(tmp_path: Path, read: Read, channels: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, clip()[0], 48_000, subtype="PCM_16")
    data = path.read_bytes()
    again = data[12:22] + struct.pack("<H", channels) + data[24:36]
    path.write_bytes(data[:36] + again + data[36:])
    with pytest.raises(AudioError, match="two chunks 'fmt' say how its samples are stored; write it anew with one"):
        read(path)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.caf"])
def test_chunks_of_other_kinds_describe_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, clip()[0], 48_000, subtype="PCM_16")
    expected, data = from_path(path), path.read_bytes()
    size = "<I" if name == "a.wav" else ">Q" if name == "a.caf" else ">I"
    at = 8 if name == "a.caf" else 12
    own = {"a.wav": b"fmt ", "a.aiff": b"COMM", "a.caf": b"desc"}[name]
    for other in {b"fmt ", b"COMM", b"desc"} - {own}:
        at_end = data.index(own) + len(own) + struct.calcsize(size)
        at_end += int.from_bytes(data[at + 4 : at + 4 + struct.calcsize(size)], "little" if name == "a.wav" else "big")
        path.write_bytes(data[:at_end] + other + struct.pack(size, 4) + b"abcd" + data[at_end:])
        np.testing.assert_array_equal(from_path(path), expected)


def test_an_aiff_may_describe_its_samples_twice_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.aiff"
    soundfile.write(path, clip()[0], 48_000, subtype="PCM_16")
    expected, data = from_path(path), path.read_bytes()
    at = data.index(b"COMM")
    described = data[at : at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")]
    again = data[: at + len(described)] + described + data[at + len(described) :]
    path.write_bytes(again[:4] + struct.pack(">I", len(again) - 8) + again[8:])
    np.testing.assert_array_equal(from_path(path), expected)
