"""The mean of checkpoints, weight by weight: of two runs from the same start it is often better than either.

    .venv/bin/python training/blend.py OUT_DIR 0.5:training/demo 0.5:RUN/best

Every part is a share and a folder with ``encoder_*``, ``decoder_*`` and ``config.json``; of several steps the newest is
taken. The shares are divided by their sum. The config is the last folder's. Runs that did not begin at the same weights
have no mean that sounds: their units are in another order. With ``--half`` the weights are saved in half precision, as
those of the embedded models are; one part alone is only converted.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from apcodec_deploy.errors import ApcodecError, CheckpointError, OutputError
from apcodec_deploy.files import folder_written_whole
from apcodec_export.checkpoint import PARTS, CheckpointFiles, canonical, read_state

State = dict[str, Tensor]


def blended(shares: Sequence[float], states: Sequence[State]) -> State:
    """The mean of one part of several checkpoints, in double precision.

    Raises:
        CheckpointError: They do not hold the same weights.
    """
    first = states[0]
    for state in states[1:]:
        odd = sorted(name for name in first.keys() | state.keys() if _shape(first, name) != _shape(state, name))
        if odd:
            shapes = " and ".join(
                "none" if (shape := _shape(each, odd[0])) is None else str(list(shape)) for each in (first, state)
            )
            raise CheckpointError(
                f"the checkpoints differ in {odd[0]}, whose shapes are {shapes}; only those of one network have a mean"
            )
    total = sum(shares)
    return {
        name: torch.stack([share / total * state[name].double() for share, state in zip(shares, states, strict=True)])
        .sum(0)
        .to(tensor.dtype)
        for name, tensor in first.items()
    }


def _shape(state: State, name: str) -> torch.Size | None:
    return state[name].shape if name in state else None


def write_blend(out: Path, parts: Sequence[tuple[float, Path]], *, half: bool = False) -> None:
    """Write the mean of checkpoints into a new folder, as the published code saves one.

    Args:
        out: The folder, which must not exist.
        parts: A share above zero and the folder of each checkpoint.
        half: Save the weights in half precision instead of that of the first checkpoint.

    Raises:
        CheckpointError: One cannot be read, or they are not of one network.
        OutputError: Something is in the way, or the folder cannot be written.
    """
    for share, each in parts:
        if not 0 < share < math.inf:
            raise CheckpointError(f"the share of {each} is {share}; more than 0 is expected, or leave it out")
    if not math.isfinite(sum(share for share, _ in parts)):
        raise CheckpointError("the shares add up to infinity; name smaller ones, such as 0.5 and 0.5")
    if out.exists():
        raise OutputError(f"{out} exists; name a folder that does not")
    files = [CheckpointFiles.find(folder) for _, folder in parts]
    shares = [share for share, _ in parts]
    made = {
        part: blended(shares, [canonical(read_state(getattr(each, part), part)) for each in files]) for part in PARTS
    }
    with folder_written_whole(out) as folder:
        for part, state in made.items():
            torch.save(
                {part: {name: _halved(name, each) if half else each for name, each in state.items()}},
                folder / f"{part}_00000000",
            )
        shutil.copy(files[-1].config, folder / "config.json")


def _halved(name: str, weight: Tensor) -> Tensor:
    if not weight.is_floating_point():
        return weight
    if (highest := float(weight.abs().max())) > torch.finfo(torch.float16).max:
        raise CheckpointError(f"{name} reaches {highest:.3g}, which half precision cannot hold; leave --half out")
    return weight.half()


def _part(text: str) -> tuple[float, Path]:
    share, _, folder = text.partition(":")
    try:
        return float(share), Path(folder)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share and folder; one is expected as 0.5:RUN/best") from None


def main() -> None:
    """Blend what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("parts", type=_part, nargs="+", metavar="SHARE:DIR")
    parser.add_argument("--half", action="store_true", help="save the weights in half precision")
    given = parser.parse_args()
    try:
        write_blend(given.out, given.parts, half=given.half)
    except (ApcodecError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
