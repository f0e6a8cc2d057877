"""A whole run: from a folder of audio to checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from apcodec_deploy.errors import TrainingError
from apcodec_deploy.files import written_whole
from apcodec_export.checkpoint import Checkpoint, CheckpointFiles
from apcodec_training.config import StartConfig, TrainingConfig
from apcodec_training.distillation import Teacher
from apcodec_training.generator import Generator
from apcodec_training.interrupts import Interrupts, deferred_interrupts
from apcodec_training.journal import Journal
from apcodec_training.material import Material, write_skipped
from apcodec_training.means import Means
from apcodec_training.processes import Processes
from apcodec_training.run_folder import RunFolder
from apcodec_training.segments import Batch, Segments, batches
from apcodec_training.start import centre_on_mean_spectrum, fill_codebooks, started
from apcodec_training.steps import NotFinite, StepResult, Steps
from apcodec_training.transplant import takes_after, transplant
from apcodec_training.validation import Heard, validate

_START_BATCHES = 16
_HEARD_CLIPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Whom a run tells what.

    Attributes:
        looking: Called while files are looked at, with what is being done and how much of how much is done.
        step: Called after each step with the number of steps done and their losses.
        say: Called with a line that a person should read.
    """

    looking: Callable[[str, int, int], None] = lambda what, done, total: None
    step: Callable[[int, dict[str, float]], None] = lambda done, losses: None
    say: Callable[[str], None] = lambda line: None


class Training:
    """A run that goes from a step to the last one."""

    def __init__(
        self,
        config: TrainingConfig,
        material: Material,
        folder: RunFolder,
        processes: Processes,
        *,
        resume: bool = False,
        start: CheckpointFiles | None = None,
        teacher: CheckpointFiles | None = None,
        reporting: Reporting | None = None,
    ) -> None:
        """Make everything ready for the first step.

        Args:
            config: The run.
            material: What to learn from.
            folder: Where everything goes, entered in the process of rank 0.
            processes: This process, and the others.
            resume: Go on from the folder's newest checkpoint.
            start: Weights to start from, of any published checkpoint whose network is the config's.
            teacher: A trained checkpoint to learn from besides; without ``start``, a student of its shapes starts from
                its weights.
            reporting: Whom to tell.

        Raises:
            TrainingError: The config does not fit the checkpoint to start from, or the number of processes.
        """
        if config.data.batch_size % processes.world:
            raise TrainingError(
                f"a batch of {config.data.batch_size} segments cannot be shared by {processes.world} processes"
            )
        if config.run.precision == "float16" and processes.device.type == "cpu":
            raise TrainingError("run.precision is float16, which is for CUDA; bfloat16 or float32 trains on a CPU")
        told = None if teacher is None else Teacher(Checkpoint.load(teacher), config.network, processes.device)
        taught = start is None and told is not None and takes_after(config.network, told.network)
        if (start is not None or taught) and not resume:  # trained weights need none of what helps new ones
            config = replace(config, start=StartConfig())
        self.config, self.material, self.folder, self.processes = config, material, folder, processes
        self.reporting = reporting or Reporting()
        self.segments = Segments(material.training, config.data, config.network.sample_rate, config.run.seed)
        self.done, self.damaged, self.named = 0, dict[str, str](), set[str]()
        self.means = Means()
        generator = started(config, start)
        if not resume and not processes.rank:
            folder.write_config(config)  # before anything else is written: it tells whose folder this is
        if not resume and config.start.mean_spectrum:
            centre_on_mean_spectrum(generator.to(processes.device), self._first_batches())
        generator.teacher = told
        if not resume and told is not None:
            self._take_from(told, generator, taught=taught)
        self.steps = Steps(config, generator, processes)
        if resume:
            self._resume()
            if not processes.rank:
                folder.write_config(config)

    def _resume(self) -> None:
        newest = self.folder.newest
        if newest is None:
            raise TrainingError(f"{self.folder.path} holds no checkpoint to go on from; leave --resume out")
        if newest >= self.config.run.steps:
            raise TrainingError(
                f"{self.folder.path} is at step {newest} of {self.config.run.steps}; a larger --steps trains on"
            )
        weights, state = self.folder.read(newest)
        if missing := {"steps", "means", "damaged", "material"} - state.keys():
            raise TrainingError(
                f"{self.folder.file('state', newest)} is not the state of a run: {min(missing)} is missing"
            )
        self.steps.restore(weights, state["steps"])
        self._check_teacher(state.get("teacher"))
        self.means.restore(state["means"])
        self.damaged = dict(state["damaged"])
        self.done = newest
        if state["material"] != self.material.digest:
            self.reporting.say(
                "the files are not those that the run was begun with: it goes on with these, and some of them may "
                "change sides between training and validation"
            )

    def _take_from(self, teacher: Teacher, generator: Generator, *, taught: bool) -> None:
        """Give a student its teacher's weights, and say what it starts from."""
        if taught:
            spectra = (generator.to(self.processes.device).spectrum(audio) for audio in self._first_batches())
            transplant(teacher, generator, teacher.mean_responses(spectra))
        self.reporting.say(
            f"learning from model {teacher.fingerprint[:16]}"
            + ("; starting from its weights" if taught else "; starting from weights of its own")
        )

    def _check_teacher(self, before: str | None) -> None:
        """A run goes on with the teacher that it was begun with."""
        teacher = self.steps.generator.teacher
        if (now := None if teacher is None else teacher.fingerprint) != before:
            names = ("no teacher" if each is None else f"the teacher {each[:16]}" for each in (before, now))
            advice = "leave --teacher out" if before is None else "name the same one with --teacher"
            raise TrainingError("{} was there until now, {} is named; {}".format(*names, advice))

    def _first_batches(self) -> Iterator[Tensor]:
        """What the start is fitted to: the first steps' audio, the same in every process."""
        for batch in batches(self.segments, first=0, steps=_START_BATCHES):
            self._note_damaged(batch.damaged)
            yield batch.audio.to(self.processes.device)

    def run(self) -> None:
        """Train to the last step. Ctrl-C and SIGTERM let a step end and save it.

        Raises:
            TrainingError: A loss is not finite; the batch is in the folder.
            KeyboardInterrupt: There was one.
        """
        with ExitStack() as stack:
            journal = None
            if not self.processes.rank:
                self._list_skipped()
                journal = stack.enter_context(Journal(self.folder.path, self.config.network, after=self.done))
            interrupts = stack.enter_context(deferred_interrupts())
            self._loop(journal, interrupts)

    def _loop(self, journal: Journal | None, interrupts: Interrupts) -> None:
        run = self.config.run
        if journal is not None and run.validate_every and not self.done:
            self._validate(journal)
        interrupted = False
        begun = time.perf_counter()
        for batch in self._batches(interrupts):
            self._note_damaged(batch.damaged)
            if not batch.sources:
                raise TrainingError(f"too many files in turn could not be read, the last: {batch.damaged[-1][1]}")
            if self._codebooks_are_due():
                self._fill_codebooks()
            rate = self._rate()
            result = self._step(batch, rate)
            self.done += 1
            self.means.add(result.losses | {"revived": result.revived, "seconds": time.perf_counter() - begun})
            self.reporting.step(self.done, result.losses)
            if journal is not None:
                if self._is_due(run.log_every):
                    journal.losses(self.done, self.means.take() | {"learning_rate": rate}, self.steps.usage.report())
                if run.validate_every and self._is_due(run.validate_every):
                    self._validate(journal)
                if self._is_due(run.checkpoint_every):
                    self._save()
            if interrupted := self.processes.agreed(interrupts.asked):
                break
            begun = time.perf_counter()
        if interrupted or interrupts.asked:
            self._end_early()

    def _batches(self, interrupts: Interrupts) -> Iterator[Batch]:
        """The batches of what is left of the run."""
        loader = batches(
            self.segments,
            first=self.done,
            steps=self.config.run.steps,
            rank=self.processes.rank,
            world=self.processes.world,
            pinned=self.processes.device.type == "cuda",
        )
        try:
            yield from loader
        except RuntimeError:  # a reading process that the same signal has ended before it could ignore it
            if not interrupts.asked:
                raise

    def _end_early(self) -> None:
        if not self.processes.rank and self.done:
            if self.folder.newest != self.done:
                self._save()
            self.reporting.say(f"saved step {self.done}; --resume goes on from there")
        raise KeyboardInterrupt

    def _is_due(self, every: int) -> bool:
        return self.done % every == 0 or self.done == self.config.run.steps

    def _rate(self) -> float:
        epoch = self.done * self.config.data.batch_size // self.segments.per_epoch
        return self.config.optimiser.rate(self.done, epoch, self.config.run.steps)

    def _step(self, batch: Batch, rate: float) -> StepResult:
        try:
            return self.steps(batch.audio.to(self.processes.device, non_blocking=True), self.done, rate)
        except NotFinite as error:
            # Every process has the same mean, so all of them end here; each keeps its own share of the batch.
            target = self.folder.path / f"not_finite_{self.done:08d}_{self.processes.rank}.npz"
            with written_whole(target, overwrite=True) as temporary, temporary.open("wb") as file:
                np.savez(file, audio=batch.audio.numpy(), sources=np.array(batch.sources))
            raise TrainingError(
                f"step {self.done} has losses that are not finite ({error}); its batch is in {target}. "
                "Go on with --resume and a lower learning rate, or with gradient_norm set"
            ) from error

    def _codebooks_are_due(self) -> bool:
        start = self.config.start
        return start.codebooks_from_data and self.done == start.steps_without_quantizer

    @torch.no_grad()
    def _fill_codebooks(self) -> None:
        generator = self.steps.generator
        size = self.config.network.codebook_size
        encoded = [generator.encode(generator.spectrum(audio)) for audio in self._first_batches()]
        latents = torch.cat([each.transpose(1, 2).flatten(0, 1) for each in encoded])
        fill_codebooks(generator.encoder.quantizer, latents, self.config.run.seed)
        self.processes.share(generator.encoder.quantizer)
        if len(latents) < 4 * size:
            self.reporting.say(f"codebooks of {size} entries start from only {len(latents)} latents")

    def _note_damaged(self, found: Iterable[tuple[str, str]]) -> None:
        new = {path: reason for path, reason in found if path not in self.damaged}
        if new:
            self.damaged |= new
            self._list_skipped()

    def _list_skipped(self) -> None:
        """Write the files that are left out, and name those that have not been named."""
        if self.processes.rank:
            return
        skipped = {str(path): reason for path, reason in self.material.skipped} | self.damaged
        for path, reason in skipped.items():
            if path not in self.named:
                self.reporting.say(f"skipped {path}: {reason}" if path not in reason else f"skipped {reason}")
        self.named |= skipped.keys()
        write_skipped(skipped, self.folder.path / "skipped.txt")

    def _validate(self, journal: Journal) -> None:
        clips: list[Heard] = []
        values = validate(
            self.steps.result,
            self.material.validation,
            self.config.data.validation_seconds,
            heard=lambda clip: clips.append(clip) if len(clips) < _HEARD_CLIPS else None,
            damaged=lambda path, reason: self._note_damaged([(path, reason)]),
        )
        if not values and self.material.validation:
            self.reporting.say(f"step {self.done}: no validation clip could be read, so best/ cannot be chosen")
        if values:
            journal.validation(self.done, values, clips)
            told = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
            self.reporting.say(f"step {self.done}: {told}")
            if values["score"] < self.folder.best_score(self.material.digest):
                self.folder.write_best(self.done, self.steps.result.weights(), values, self.material.digest)

    def _save(self) -> None:
        weights = self.steps.result.weights()
        if not all(bool(each.isfinite().all()) for part in weights.values() for each in part.values()):
            raise TrainingError(
                f"the weights of step {self.done} are not finite, so they are not saved; go on from the checkpoint "
                "before with --resume and a lower learning rate, or with gradient_norm set"
            )
        state = {
            "steps": self.steps.state(),
            "means": self.means.state(),
            "damaged": self.damaged,
            "material": self.material.digest,
            "teacher": None if self.steps.generator.teacher is None else self.steps.generator.teacher.fingerprint,
        }
        self.folder.write(self.done, weights, state, self.config.run.keep_checkpoints)
