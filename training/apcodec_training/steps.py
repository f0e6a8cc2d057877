"""One step of training: both optimisers, the codebooks' bookkeeping, and everything that a step leaves behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from apcodec_deploy.errors import TrainingError
from apcodec_training.adversarial import adversarial_losses, discriminator_losses
from apcodec_training.averaging import Averaged
from apcodec_training.config import TrainingConfig
from apcodec_training.discriminators import Discriminators
from apcodec_training.generator import Generator, Reconstruction, autocast
from apcodec_training.losses import total
from apcodec_training.processes import Processes
from apcodec_training.quantizing import CodebookUsage, revive

_REVIVAL = 4
"""Tells the draws of revived entries from other draws of the same seed."""
_JUDGED = 5
"""Tells the draws of what the discriminators see."""


class NotFinite(Exception):
    """A loss, or a gradient, that is not a number."""

    def __init__(self, losses: dict[str, float]) -> None:
        self.losses = losses
        super().__init__(", ".join(f"{name} = {value:g}" for name, value in losses.items() if not np.isfinite(value)))


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gave.

    Attributes:
        losses: Every term, unweighted, their weighted sum ``total``, and ``gradient_norm`` where gradients are cut.
        revived: Entries of codebooks that were moved.
    """

    losses: dict[str, float]
    revived: int


class Steps:
    """Generator, discriminators and their optimisers, going forward step by step."""

    def __init__(self, config: TrainingConfig, generator: Generator, processes: Processes) -> None:
        self.config, self.processes = config, processes
        self.generator = generator.to(processes.device).train()
        self.discriminators = self._new_discriminators()
        self.usage = CodebookUsage(generator.encoder.quantizer, processes.device)
        codebooks = [stage.codebook.weight for stage in generator.encoder.quantizer.stages]
        self.optimiser = self._adam(nn.ModuleList([generator.encoder, generator.decoder]), apart=codebooks)
        self.judge_optimiser = self._adam(self.discriminators) if self.discriminators is not None else None
        decay = config.optimiser.average_decay
        self._averaged = Averaged(self.generator, decay) if decay else None
        self._scaler = torch.amp.GradScaler(processes.device.type, enabled=config.run.precision == "float16")
        self._spread = processes.spread(_compiled(self.generator) if config.run.compiled else self.generator)
        self._judges = processes.spread(self.discriminators) if self.discriminators is not None else None

    def _new_discriminators(self) -> Discriminators | None:
        weights, config = self.config.losses, self.config.discriminators
        if not (weights.period_adversarial or weights.period_features):
            config = replace(config, periods=())
        if not (weights.resolution_adversarial or weights.resolution_features):
            config = replace(config, resolutions=())
        if not (config.periods or config.resolutions):
            return None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.run.seed + 1)
            return Discriminators(config).to(self.processes.device)

    def _adam(self, module: nn.Module, *, apart: Sequence[Tensor] = ()) -> torch.optim.AdamW:
        """An optimiser in which some parameters, which are codebooks, have a rate of their own."""
        options = self.config.optimiser
        own = {id(parameter) for parameter in apart}
        parameters = [each for each in module.parameters() if each.requires_grad and id(each) not in own]
        groups = [{"params": parameters, "share": 1.0}]
        if apart:
            groups.append({"params": list(apart), "share": options.codebook_rate})
        return torch.optim.AdamW(
            groups,
            options.learning_rate,
            betas=(options.beta1, options.beta2),
            weight_decay=options.weight_decay,
            fused=self.processes.device.type == "cuda",
        )

    @property
    def result(self) -> Generator:
        """What the run gives: the generator, or the average of its weights."""
        return self.generator if self._averaged is None else self._averaged.generator

    def quantizing(self, step: int) -> bool:
        """Whether the quantizer is part of a step."""
        return step >= self.config.start.steps_without_quantizer

    def judging(self, step: int) -> bool:
        """Whether the discriminators are part of a step."""
        return self.discriminators is not None and step >= self.config.discriminators.first_step

    def __call__(self, audio: Tensor, step: int, rate: float) -> StepResult:
        """Learn from a batch.

        Args:
            audio: (B, N) on the device.
            step: Its number, from 0.
            rate: The learning rate.

        Raises:
            NotFinite: A loss or the gradient is not a number. The generator has not learned from it; the
                discriminators may have.
        """
        for optimiser in (self.optimiser, self.judge_optimiser):
            for group in optimiser.param_groups if optimiser is not None else ():
                group["lr"] = rate * group["share"]
        with autocast(self.processes.device, self.config.run.precision):
            made: Reconstruction = self._spread(audio, quantizing=self.quantizing(step))
        losses = dict(made.losses)
        judged: dict[str, Tensor] = {}
        if self.judging(step):
            looked_at = self._looked_at(audio.shape[1], step)
            original, decoded = audio[:, looked_at], made.audio[:, looked_at]
            judged = self._judge(original, decoded.detach())
            self._descend_judges(judged)
            losses |= self._convince(original, decoded)
        weighted = total(losses, self.config.losses)
        values = self._values({**losses, **judged, "total": weighted})
        if not all(np.isfinite(value) for value in values.values()):
            raise NotFinite(values)
        if (norm := self._descend(weighted)) is not None:
            values["gradient_norm"] = norm
        revived = self._tend_codebooks(made, step)
        if self._averaged is not None:
            self._averaged.follow(step)
        return StepResult(values, revived)

    def _looked_at(self, samples: int, step: int) -> slice:
        """The part of a segment that the discriminators see."""
        length = self.config.discriminators.samples or samples
        begin = int(np.random.default_rng((self.config.run.seed, _JUDGED, step)).integers(samples - length + 1))
        return slice(begin, begin + length)

    def _judge(self, original: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """The discriminators' losses."""
        assert self._judges is not None
        with autocast(self.processes.device, self.config.run.precision):
            # One pass over both, which several processes need: each pass waits for the gradients of the last.
            judgements = self._judges(torch.cat((original, decoded)))
        size = len(original)
        true, false = (
            tuple([[layer[part] for layer in each] for each in family] for family in judgements)
            for part in (slice(None, size), slice(size, None))
        )
        return discriminator_losses(true, false)  # type: ignore[arg-type]

    def _convince(self, original: Tensor, decoded: Tensor) -> dict[str, Tensor]:
        """The generator's adversarial losses, after the discriminators' own step as in the published code."""
        judges = self.discriminators
        assert judges is not None
        with autocast(self.processes.device, self.config.run.precision):
            with torch.no_grad():
                true = judges(original)
            judges.requires_grad_(False)
            false = judges(decoded)
            judges.requires_grad_(True)
        return adversarial_losses(true, false)

    def _descend_judges(self, losses: dict[str, Tensor]) -> None:
        assert self.judge_optimiser is not None
        weights = self.config.losses
        shares = {
            "period_discriminator": weights.period_adversarial,
            "resolution_discriminator": weights.resolution_adversarial,
        }
        loss = torch.stack([shares[name] * value for name, value in losses.items()]).sum()
        self.judge_optimiser.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self.judge_optimiser)

    def _descend(self, loss: Tensor) -> float | None:
        longest = self.config.optimiser.gradient_norm
        self.optimiser.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        norm = None
        if longest:
            self._scaler.unscale_(self.optimiser)
            parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
            norm = float(nn.utils.clip_grad_norm_(parameters, longest))
            if not np.isfinite(norm) and not self._scaler.is_enabled():  # which looks for itself, and skips the step
                raise NotFinite({"gradient_norm": norm})
        self._scaler.step(self.optimiser)
        self._scaler.update()
        return norm

    def _values(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """Means over all processes, by one copy from the device."""
        stacked = torch.stack([loss.detach().float() for loss in losses.values()])
        values = (self.processes.summed(stacked) / self.processes.world).tolist()
        return dict(zip(losses, values, strict=True))

    def _tend_codebooks(self, made: Reconstruction, step: int) -> int:
        if made.quantized is None:
            return 0
        self.usage.add(self.processes.summed(self.usage.count(made.quantized.codes)))
        after = self.config.run.revive_after
        if not after:
            return 0
        random = torch.Generator().manual_seed(
            int(np.random.default_rng((self.config.run.seed, _REVIVAL, step)).integers(1 << 62))
        )
        encoded = [self.processes.gathered(each) for each in made.quantized.encoded]
        quantizer = self.generator.encoder.quantizer
        return revive(quantizer, self.usage, encoded, self.optimiser, after=after, random=random)

    def state(self) -> dict[str, Any]:
        """Everything but the result's weights that the next step depends on."""
        judges = self.discriminators
        return {
            "weights": None if self._averaged is None else self.generator.weights(),
            "optimiser": self.optimiser.state_dict(),
            "discriminators": None if judges is None else judges.state_dict(),
            "judge_optimiser": None if self.judge_optimiser is None else self.judge_optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "idle": self.usage.idle.cpu(),
            "counts": self.usage.counts.cpu(),
        }

    def restore(self, weights: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Go back to a state and the result's weights that belong to it.

        What the config says of the optimisers holds, not what it said then; discriminators that were not there before
        start new.

        Raises:
            TrainingError: They are of another network, or of other discriminators.
        """
        try:
            self.result.load(weights)
            if self.result is not self.generator or state.get("weights"):  # averages now, or did then
                self.generator.load(state.get("weights") or weights)
            _load_moments(self.optimiser, state["optimiser"])
            if self.discriminators is not None and self.judge_optimiser is not None and state["discriminators"]:
                _load_judges(self.discriminators, state["discriminators"])
                _load_moments(self.judge_optimiser, state["judge_optimiser"])
            if self._scaler.is_enabled() and state["scaler"]:
                self._scaler.load_state_dict(state["scaler"])
            self.usage.idle.copy_(state["idle"])
            self.usage.counts.copy_(state["counts"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise TrainingError(f"the checkpoint does not fit the config: {reason[:300]}") from error


def _compiled(generator: Generator) -> nn.Module:
    """A generator that is compiled when it is first called."""
    if not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++", "cl"))):
        raise TrainingError("run.compiled needs a C++ compiler, and there is none; install g++ or leave it out")
    return cast(nn.Module, torch.compile(generator))


def _load_judges(discriminators: nn.Module, state: dict[str, Any]) -> None:
    try:
        discriminators.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(
            "the checkpoint's discriminators are not those of the config; leave the periods, period_channels, "
            "resolutions and resolution_channels of [discriminators] as they were"
        ) from error


def _load_moments(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over what an optimiser has learned, but not what it was told."""
    told = [{key: value for key, value in group.items() if key != "params"} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, options in zip(optimiser.param_groups, told, strict=True):
        group.update(options)
