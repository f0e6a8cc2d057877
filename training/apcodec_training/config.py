"""Everything that a training run can be told, as frozen sections with the published code's values as defaults."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from apcodec_deploy.audio.resampling import check_rate
from apcodec_deploy.errors import AudioError, CheckpointError, TrainingError
from apcodec_export.network import PUBLISHED_48K, NetworkConfig, streamable
from apcodec_training import coherence, intelligibility, spectral_distance
from apcodec_training.loss_weights import LossWeights
from apcodec_training.sections import changed, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What a batch is made of.

    Attributes:
        segment_samples: Samples of a segment at the model's rate; the published 7960 are 200 frames, 25 latents.
        batch_size: Segments of a batch, over all processes together.
        workers: Processes that read files; 0 reads them in the training process. They do not change what is read.
        gain_db: Least and most by which a segment's level is changed, at random; a segment is never driven past full
            scale.
        band_limited: Share of the segments that are brought to a lower sample rate and back, so that a model of clean
            48 kHz recordings learns what audio from elsewhere looks like: nothing above some frequency.
        lowest_rate: Hz, of those rates.
        shares: What share of the segments comes from each folder right below the audio's, in any unit; folders that are
            not named give none. Empty: every second of audio counts alike.
        validation_clips: Files kept for validation.
        validation_seconds: How much of each of those is coded.
    """

    segment_samples: int = 7960
    batch_size: int = 16
    workers: int = 2
    gain_db: tuple[float, float] = (0.0, 0.0)
    band_limited: float = 0.0
    lowest_rate: int = 12_000
    shares: dict[str, float] = field(default_factory=dict)
    validation_clips: int = 8
    validation_seconds: float = 5.0

    def __post_init__(self) -> None:
        positive(self, "segment_samples", "batch_size", "validation_seconds")
        if not 0 <= self.band_limited <= 1:
            raise TrainingError(f"band_limited is {self.band_limited}; a share from 0 to 1 is expected")
        check_rate(self.lowest_rate)
        if self.shares and not (min(self.shares.values()) >= 0 and sum(self.shares.values()) > 0):
            raise TrainingError(f"shares are {self.shares}; numbers from 0 on, not all of them 0, are expected")
        positive(self, "workers", "validation_clips", zero=True)
        if not self.gain_db[0] <= self.gain_db[1]:
            raise TrainingError(f"gain_db is {list(self.gain_db)}; the least comes first, then the most")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """AdamW, and how its rate goes.

    Attributes:
        schedule: ``epochs`` multiplies the rate by ``decay`` after every epoch (published); ``cosine`` lets it fall
            along half a cosine to ``final_share`` of it at the last step, which short runs need.
        warmup_steps: Steps over which the rate rises from zero.
        codebook_rate: Rate of the codebooks' entries as a multiple of ``learning_rate``; 1 is as published. Adam moves
            an entry by no more than the rate in a step, so that at 1 a latent that grows fast leaves its codebooks
            behind.
        gradient_norm: Longest gradient of the generator; 0 leaves it as it is (published).
        average_decay: Share of the average of the generator's weights that a step leaves as it was, say 0.999. The
            average is what is validated and saved as the run's result; 0 takes the weights themselves (published).
    """

    learning_rate: float = 2e-4
    beta1: float = 0.8
    beta2: float = 0.99
    weight_decay: float = 0.01
    schedule: Literal["epochs", "cosine"] = "epochs"
    decay: float = 0.999
    final_share: float = 0.02
    warmup_steps: int = 0
    codebook_rate: float = 1.0
    gradient_norm: float = 0.0
    average_decay: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "learning_rate", "decay", "codebook_rate")
        positive(self, "weight_decay", "final_share", "warmup_steps", "gradient_norm", zero=True)
        if self.final_share > 1:
            raise TrainingError(f"final_share is {self.final_share}; a share from 0 to 1 is expected")
        for name in ("beta1", "beta2", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} is {getattr(self, name)}; at least 0 and less than 1 is expected")

    def rate(self, step: int, epoch: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of ``steps`` in all."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.schedule == "epochs":
            return float(self.learning_rate * warm * self.decay**epoch)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
        return self.learning_rate * warm * (self.final_share + (1 - self.final_share) * fall)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """The two families of discriminators. They are built only where a loss weight asks for them.

    Attributes:
        first_step: Step from which they train and judge.
        samples: How much of a segment they look at, from a place that each step draws; 0 is all of it, as published.
            What they cost grows with it.
        periods: Of the multi-period discriminators.
        period_channels: Of their first layer; the others have 4, 16, 32 and 32 times as many.
        resolutions: (n_fft, hop, window) of the multi-resolution discriminators.
        resolution_channels: Of their layers.
    """

    first_step: int = 0
    samples: int = 0
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: int = 32
    resolutions: tuple[tuple[int, int, int], ...] = ((512, 20, 160), (1024, 40, 320), (2048, 80, 640))
    resolution_channels: int = 64

    def __post_init__(self) -> None:
        positive(self, "period_channels", "resolution_channels")
        positive(self, "first_step", "samples", zero=True)
        if any(period < 1 for period in self.periods):
            raise TrainingError(f"periods are {list(self.periods)}; positive ones are expected")
        for n_fft, hop, window in self.resolutions:
            if not 0 < hop <= window <= n_fft:
                raise TrainingError(
                    f"a discriminator's resolution is {[n_fft, hop, window]}; n_fft, hop and window are expected, "
                    "with hop <= window <= n_fft"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class StartConfig:
    """How the weights start. All off is as published.

    Attributes:
        mean_spectrum: Centre the amplitude encoder's input on the data's mean log-amplitude and start the amplitude
            decoder's output from it.
        codebooks_from_data: Start every codebook from clusters of what it is to code, its projections as identities.
        steps_without_quantizer: Steps at the start that pass the latent on as it is.
    """

    mean_spectrum: bool = False
    codebooks_from_data: bool = False
    steps_without_quantizer: int = 0

    def __post_init__(self) -> None:
        positive(self, "steps_without_quantizer", zero=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How long, and what is written when.

    Attributes:
        steps: Steps in all; 1,000,000 is what the names of the published checkpoints imply.
        log_every: Steps between lines of ``losses.csv``.
        validate_every: Steps between validations; 0 is never.
        checkpoint_every: Steps between checkpoints.
        keep_checkpoints: How many of them are kept; 0 keeps all.
        revive_after: Steps after which an entry of a codebook that was not used is put where there is data; 0 is never.
        precision: Of the network's products; ``float16`` is for CUDA.
        compiled: Let PyTorch compile the generator, which saves a sixth of a step's time on a CPU after a minute or
            more at the start, and needs a C++ compiler there. Losses differ from those without by their last digits.
        seed: Of everything that is random.
    """

    steps: int = 1_000_000
    log_every: int = 100
    validate_every: int = 5_000
    checkpoint_every: int = 5_000
    keep_checkpoints: int = 3
    revive_after: int = 0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compiled: bool = False
    seed: int = 1234

    def __post_init__(self) -> None:
        positive(self, "steps", "log_every", "checkpoint_every")
        positive(self, "validate_every", "keep_checkpoints", "revive_after", "seed", zero=True)
        if self.seed >= 2**63:
            raise TrainingError(f"seed is {self.seed}; less than 2**63 is expected")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """A whole run."""

    network: NetworkConfig = PUBLISHED_48K
    data: DataConfig = field(default_factory=DataConfig)
    losses: LossWeights = field(default_factory=LossWeights)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    start: StartConfig = field(default_factory=StartConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        spec, segment = self.network.spec(), self.data.segment_samples
        latents = spec.latents(segment)
        if spec.training_samples(latents) != segment:
            near = [spec.training_samples(count) for count in (latents - 1, latents, latents + 1)]
            whole = min((samples for samples in near if samples > 0), key=lambda samples: abs(samples - segment))
            raise TrainingError(
                f"data.segment_samples is {segment}; a whole number of latents is expected: {whole} are "
                f"{spec.latents(whole) * spec.ratio} frames, {spec.latents(whole)} latents"
            )
        if segment < spec.min_samples:
            raise TrainingError(f"data.segment_samples is {segment}; at least {spec.min_samples} are expected")
        shortest = {
            "unintelligibility": intelligibility.least_samples(self.network.sample_rate),
            "incoherence": coherence.frame_samples(self.network.sample_rate),
            "log_spectral_distance": spectral_distance.LEAST_SAMPLES,
        }
        for name, samples in shortest.items():
            if getattr(self.losses, name) and segment < samples:
                raise TrainingError(
                    f"data.segment_samples is {segment}; at least {samples} are expected where losses.{name} is not 0"
                )
        if self.adversarial:
            self._check_judged(segment)

    def _check_judged(self, segment: int) -> None:
        """What the discriminators look at is part of a segment, and long enough for their transforms."""
        looked_at = self.discriminators.samples
        key, judged = ("discriminators.samples", looked_at) if looked_at else ("data.segment_samples", segment)
        longest = max((max(shape) for shape in self.discriminators.resolutions), default=0)
        if judged <= longest // 2:
            half = f"more than {longest // 2} are expected, half of the discriminators' longest transform"
            raise TrainingError(f"{key} is {judged}; {half}")
        if judged > segment:
            raise TrainingError(f"{key} is {judged}; at most {segment} are expected, as many as a segment has")

    def _with_streamable(self, values: dict[str, Any], source: str) -> dict[str, Any]:
        """Sections in which ``context`` of the network has become all the numbers that follow from it."""
        numbers = values.get("network")
        if not isinstance(numbers, dict) or "context" not in numbers:
            return values
        context = numbers["context"]
        if type(context) is not int or context < 0:
            raise TrainingError(f"{source}: network: context is {context!r}; 0 or more frames are expected")
        others = {name: value for name, value in numbers.items() if name != "context"}
        network = streamable(changed(self.network, others, f"{source}: network"), context)
        return values | {"network": asdict(network)}

    @property
    def adversarial(self) -> bool:
        """Whether there are discriminators at all."""
        weights = self.losses
        return any(
            (
                weights.period_adversarial,
                weights.period_features,
                weights.resolution_adversarial,
                weights.resolution_features,
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries, for a file."""
        return asdict(self)

    def changed(self, values: dict[str, Any], source: str) -> TrainingConfig:
        """This config with some numbers replaced.

        Args:
            values: Sections of keys, as a TOML file has them. ``context`` in the section ``network`` makes it the
                streamable one of its widths; see ``streamable``.
            source: Where they come from, for messages.

        Raises:
            TrainingError: A key is unknown, or a value is of the wrong type or makes no run.
        """
        try:
            return changed(self, self._with_streamable(values, source), source)
        except (AudioError, CheckpointError) as error:
            raise TrainingError(f"{source}: {error}") from error
