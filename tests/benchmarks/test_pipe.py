"""The way through the pipe, timed on stand-ins that hold back a known number of samples."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

import pytest

from apcodec_benchmarks.pipe import Pipe, commands, through
from apcodec_deploy.errors import ContenderError

RATE, UNIT = 48_000, 480
FRAME = UNIT / RATE
PASS = "import os\nwhile block := os.read(0, 65536): os.write(1, block)"
HOLD = """
import os
held = b""
while block := os.read(0, 65536):
    held += block
    os.write(1, held[:-{late}])
    held = held[-{late}:]
os.write(1, held)
"""


def pipe(encode: str = PASS, decode: str = PASS, tokens: int = 40) -> Pipe:
    first, second = ([sys.executable, "-c", code] for code in (encode, decode))
    return Pipe(encode=first, decode=second, sample_rate=RATE, unit=UNIT, tokens=tokens)


def test_what_is_passed_on_at_once_is_heard_before_the_next_token_is_written() -> None:
    times = through(pipe())
    assert len(times) == 40
    assert 0 < min(times) < FRAME


@pytest.mark.parametrize("tokens", [1, 3])
def test_what_is_held_back_comes_so_many_tokens_later(tokens: int) -> None:
    late = 2 * (tokens * UNIT - 100)
    times = through(pipe(decode=HOLD.format(late=late)))
    assert 0.8 * tokens * FRAME < statistics.mean(
        times
    )  # a machine that rests for a while writes tokens late, together
    assert min(times) < (tokens + 1) * FRAME


@pytest.mark.parametrize(
    "broken",
    [
        pipe(encode="import sys; sys.exit('no such model')"),
        pipe(decode="import sys; sys.exit('no such model')"),
        pipe(encode="import os, sys; os.read(0, 100); os.write(1, b'x' * 100); sys.exit('no such model')"),
    ],
    ids=["encode", "decode", "in the middle"],
)
def test_a_command_that_fails_is_told_in_its_words(broken: Pipe) -> None:
    with pytest.raises(ContenderError, match="no such model"):
        through(broken)


def test_the_commands_are_what_a_user_types() -> None:
    encode, decode = commands("bundle", 2)
    options = "--model bundle --backend onnxruntime --precision float32 --threads 2"

    def words(command: Sequence[str]) -> str:
        return " ".join(command).partition("apcodec_deploy.cli.main ")[2]

    assert words(encode) == f"encode - -o - {options} --live"
    assert words(decode) == f"decode - -o - {options}"
