"""What half precision costs a checkpoint: every clip of a folder, also loud, and all of them joined to a minute.

The network under the fp16 plan runs in PyTorch on half-precision tensors, beside the published one in float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from apcodec_deploy.audio.reader import AudioReader
from apcodec_deploy.audio.resampling import resample
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_export.deployed.precision import HALF
from apcodec_export.judgement import judge

MINUTE = 60


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="config.json with encoder_* and decoder_*")
    parser.add_argument("clips", type=Path, help="a folder of audio")
    arguments = parser.parse_args()
    checkpoint = Checkpoint.load(CheckpointFiles.find(arguments.checkpoint))
    rate = checkpoint.network.sample_rate
    clips = {}
    for path in sorted(arguments.clips.iterdir()):
        if path.suffix in (".wav", ".flac", ".ogg"):
            with AudioReader(path) as reader:
                blocks = list(resample((block[:1] for block in reader.blocks()), reader.sample_rate, rate))
            clips[path.name] = torch.from_numpy(np.concatenate(blocks, axis=1)[0])
    cases = dict(clips)
    cases |= {f"{name} +24 dB": clip * 10 ** (24 / 20) for name, clip in clips.items()}
    joined = torch.cat(list(clips.values()))
    cases["a minute of all"] = joined.repeat(1 + MINUTE * rate // len(joined))[: MINUTE * rate]
    print("| clip | seconds | equal codes, by codebook | SNR of the same codes, dB | largest half value |")
    print("|---|--:|---|--:|---|")
    for name, clip in cases.items():
        judgement = judge(checkpoint, HALF, {"speech": clip})
        layer, largest = max(judgement.largest.items(), key=lambda item: item[1])
        codes = " ".join(f"{100 * share:.1f}" for share in judgement.agreement)
        line = (
            f"| {name} | {len(clip) / rate:.1f} | {codes} | {judgement.snr['speech']:.1f} | {largest:.0f} ({layer}) |"
        )
        print(line, flush=True)


if __name__ == "__main__":
    main()
