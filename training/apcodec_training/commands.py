"""``apcodec train``. Imports nothing heavy, so that ``--help`` works without PyTorch."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from apcodec_deploy.cli.console import progress_bar, say
from apcodec_deploy.errors import require
from apcodec_deploy.machine import available_cpus


def train(
    audio: Annotated[
        Path, typer.Argument(help="A folder of audio files. Sub-folders count.", metavar="AUDIO_DIR", readable=False)
    ],
    output: Annotated[
        Path, typer.Argument(help="The run: checkpoints, curves and sound.", metavar="OUT_DIR", readable=False)
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            help="'paper' is the published recipe, 'demo' a small model; 'paper-s' and 'demo-s' are streamable. "
            "Default: paper."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML or JSON file with changes to the preset.", readable=False)
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="A checkpoint folder whose weights the run begins with.", metavar="DIR", readable=False),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="A trained checkpoint folder to learn from. A streamable model of the same shape starts from its "
            "weights.",
            metavar="DIR",
            readable=False,
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="A folder to validate with. Default: some files of AUDIO_DIR.", metavar="DIR", readable=False
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps. Default: the config's.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1. auto takes a GPU if there is one.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: PyTorch's choice.", min=1)] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest checkpoint in OUT_DIR, if there is one, with the settings there. --config "
            "changes them; --preset and --start are for new runs.",
        ),
    ] = False,
) -> None:
    """Train a codec on a folder of audio, by the paper's recipe.

    OUT_DIR gets checkpoints in the published layout, losses.csv, validation.csv and TensorBoard logs. 'apcodec export
    OUT_DIR BUNDLE' deploys the newest checkpoint at any time. Files that cannot be read are listed in skipped.txt.

    Ctrl-C saves a checkpoint, and --resume goes on from there. On several GPUs: torchrun --nproc-per-node 4 -m
    apcodec_training AUDIO_DIR OUT_DIR
    """
    for module in ("torch", "safetensors", "transformers", "tensorboard", "pystoi"):
        require(module, extra="train")
    import torch

    from apcodec_export.checkpoint import CheckpointFiles
    from apcodec_training.beginning import beginning
    from apcodec_training.material import Material
    from apcodec_training.processes import processes
    from apcodec_training.run_folder import RunFolder
    from apcodec_training.training import Reporting, Training

    # A container may grant fewer CPUs than PyTorch counts.
    torch.set_num_threads(threads or min(torch.get_num_threads(), available_cpus()))
    folder = RunFolder(output)
    begins = beginning(folder, named=preset, changes=config, steps=steps, resume=resume)
    chosen, resume = begins.config, begins.resume

    with processes(device) as here, progress_bar() as bar, ExitStack() as stack:
        first, begun = here.rank == 0, {"time": time.monotonic()}
        task = bar.add_task("looking at files", total=None, visible=first)

        def looked(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        def stepped(done: int, losses: dict[str, float]) -> None:
            told: dict[str, Any] = {"mel": losses["mel_l1"], "total": losses["total"]}
            text = ", ".join(f"{name} {value:.3g}" for name, value in told.items())
            bar.update(task, description=f"training ({text})", completed=done, total=chosen.run.steps)
            begun.setdefault("step", done - 1)
            if first and bar.disable and done % chosen.run.log_every == 0:
                rate = (done - begun["step"]) / (time.monotonic() - begun["time"])
                left = (chosen.run.steps - done) / rate / 3600
                say(f"step {done} of {chosen.run.steps}: {text}, {rate:.2g} steps/s, {left:.1f} h left")

        material = Material.find(
            audio, validation=validation, clips=chosen.data.validation_clips, seed=chosen.run.seed, progress=looked
        )
        if first:
            stack.enter_context(folder)
            if begins.note:
                say(begins.note)
            hours = sum(each.seconds for each in material.training) / 3600
            say(
                f"{len(material.training)} files to train on ({hours:.2f} h), {len(material.validation)} to validate "
                f"with, {len(material.skipped)} skipped; {here.world} × {here.device}"
            )
        training = Training(
            chosen,
            material,
            folder,
            here,
            resume=resume,
            start=CheckpointFiles.find(start) if start is not None and not resume else None,
            teacher=CheckpointFiles.find(teacher) if teacher is not None else None,
            reporting=Reporting(looking=looked, step=stepped, say=say if first else lambda line: None),
        )
        training.run()
    if first:
        say(f"{output}: trained to step {training.done}; deploy it with: apcodec export {output} BUNDLE")
