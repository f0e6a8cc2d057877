"""The families of models. What one does otherwise than another stands here, as lengths and state; the house asks.

ModelSpec            what every model has
├── WindowedSpec     frames centred on their samples; the network sees a clip, or a window of it, at once
└── StreamSpec       causal frames; a clip is one stream, and what is behind is in a few arrays of state
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

from apcodec_deploy.errors import ApcodecError, BundleError
from apcodec_deploy.signatures import GraphSignature, TensorSignature, signature
from apcodec_deploy.spec import WHOLE, Layout, ModelSpec, StateTensor, WindowLength, seconds_of
from apcodec_deploy.streams import StreamLayout
from apcodec_deploy.windows import WindowLayout

GRAPHS = ("stft", "encoder", "quantizer", "dequantizer", "decoder", "istft")
"""The graphs of a model with windows, in the order in which audio passes them."""
ENCODE, DECODE = GRAPHS[:3], GRAPHS[3:]
STREAM_GRAPHS = ("encode", "decode")
"""The graphs of a causal model: one a direction, with its state."""
ALL_GRAPHS = (*GRAPHS, *STREAM_GRAPHS)
_JUDGED_LATENTS = 400
"""2.67 s at 150 latents per second, as long as the usual window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowedSpec(ModelSpec):
    """A model whose frames are centred on their samples and whose network sees a whole clip, or a window, at once.

    Attributes:
        encoder_context_frames: Frames on each side that one latent depends on, the transform's window included,
            global response normalisation excluded.
        decoder_context_frames: Frames on each side that one sample depends on, likewise.
        window_latents: Latents in a window of the default layout; see ``windows.py``.
    """

    encoder_context_frames: int
    decoder_context_frames: int
    window_latents: int

    @property
    def min_samples(self) -> int:
        """The shortest clip whose edges the transform can reflect; shorter ones are zero-extended to it."""
        blocks = -(-self.win_size // self.hop_size)
        return max(self.lead, blocks * self.hop_size - self.lead) + 1

    @property
    def context_latents(self) -> int:
        """Whole latents of context a window needs on each side, one more for the cross-fade between windows."""
        frames = max(self.encoder_context_frames, self.decoder_context_frames)
        return -(-frames // self.ratio) + 1

    def layout(self, window: WindowLength = None) -> WindowLayout:
        if window is None:
            return WindowLayout(self.window_latents, self.context_latents)
        if window == WHOLE:
            return WindowLayout(0, 0)
        return WindowLayout(max(1, round(seconds_of(window) * self.latent_rate)), self.context_latents)

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        return {"encode": ENCODE, "decode": DECODE}

    @property
    def states(self) -> dict[str, tuple[StateTensor, ...]]:
        return {"encode": (), "decode": ()}

    @property
    def graphs(self) -> dict[str, GraphSignature]:
        sizes = {"bins": self.bins, "channels": self.latent_dim, "books": self.num_codebooks}
        features = "logamp:float32(batch,bins,frames) phase:float32(batch,bins,frames)"
        spectrum = "real:float32(batch,bins,frames) imag:float32(batch,bins,frames)"
        latent, codes = "latent:float32(batch,channels,latents)", "codes:int32(batch,books,latents)"
        audio = "audio:float32(batch,samples)"
        passed = (audio, features, latent, codes, latent, spectrum, audio)
        return {name: signature(name, *between, sizes) for name, between in zip(GRAPHS, pairwise(passed), strict=True)}

    @property
    def reduced(self) -> tuple[str, ...]:
        return ("encoder", "decoder")

    def call_range(self, latents: int) -> tuple[int, int]:
        return self.samples_range(latents)

    @property
    def judged_latents(self) -> int:
        return self.window_latents

    def passes(self, layout: Layout) -> bool:
        return isinstance(layout, WindowLayout)

    def frames(self, samples: int) -> int:
        """Frames of the centred transform of a clip of ``samples``.

        For whole hops and an odd ``n_fft``, PyTorch leaves the last one out. With it, one law holds for all models.
        """
        return samples // self.hop_size + 1

    def latents(self, samples: int) -> int:
        """Latents of a clip: ``ceil(frames / ratio)``, which equals ``samples // samples_per_latent + 1``."""
        return self.layout().latents(samples, self.samples_per_latent)

    def axes_of_audio(self, samples: int) -> dict[str, int]:
        """The dynamic axes of the encoding graphs for a clip of ``samples``."""
        return {"samples": samples, "frames": self.frames(samples), "latents": self.latents(samples)}

    def axes_of_call(self, samples: int) -> dict[str, int]:
        return self.axes_of_audio(samples)

    def samples_range(self, latents: int) -> tuple[int, int]:
        longest = latents * self.samples_per_latent - 1
        return min(max(longest + 1 - self.samples_per_latent, self.min_samples), longest), longest

    def training_samples(self, latents: int) -> int:
        return (latents * self.ratio - 1) * self.hop_size


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec(ModelSpec):
    """A causal model, coded token by token: what is behind a token reaches it by its side's state alone.

    Frame ``t`` sees the ``win_size`` samples that end with sample ``hop_size x (t + 1) - 1``, zeros before the clip.
    So a token needs the samples that it stands for and none after, and what it decodes to is final up to
    ``delay_samples`` before its end: the windows of later tokens reach back that far.

    Attributes:
        context: Frames of history that a convolution sees; 0 is feed-forward.
        encoder_state: What the encoder carries from push to push.
        decoder_state: What the decoder carries.
    """

    context: int
    encoder_state: tuple[StateTensor, ...]
    decoder_state: tuple[StateTensor, ...]

    NOT_COUNTS: ClassVar[tuple[str, ...]] = ("family", "context", "encoder_state", "decoder_state")
    centred: ClassVar[bool] = False
    engine_profile: ClassVar[str] = "streaming"
    push_latents: ClassVar[int] = 8
    networks_apart: ClassVar[bool] = False

    def __post_init__(self) -> None:
        ModelSpec.__post_init__(self)
        if type(self.context) is not int or self.context < 0:
            raise BundleError(f"context is {self.context!r}; 0 or a positive integer is expected")
        if self.win_size % self.hop_size or self.win_size < 3 * self.hop_size:
            raise BundleError(
                f"win_size is {self.win_size} and hop_size {self.hop_size}; a whole number of hops from three on is "
                "expected, or the squared windows do not add up to a constant"
            )
        for name in ("n_fft", "win_size"):
            if getattr(self, name) % 2:
                raise BundleError(f"{name} is {getattr(self, name)}; an even number is expected of a causal model")
        for tensor in (*self.encoder_state, *self.decoder_state):
            if not all(type(size) is int and size > 0 for size in tensor.shape):
                raise BundleError(f"the state {tensor.name} has the shape {list(tensor.shape)}, which is none")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields' values from JSON values: a state is an object of shapes by name."""
        found = dict(values)
        for name in ("encoder_state", "decoder_state"):
            try:
                found[name] = tuple(StateTensor(str(label), tuple(shape)) for label, shape in values[name].items())
            except (AttributeError, TypeError) as error:
                raise BundleError(f"{name} is {values[name]!r}; an object of shapes by name is expected") from error
        return found

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        for name, state in (("encoder_state", self.encoder_state), ("decoder_state", self.decoder_state)):
            values[name] = {tensor.name: list(tensor.shape) for tensor in state}
        return values

    @property
    def delay_samples(self) -> int:
        """Samples by which what is decoded lags behind what was coded; also those that the encoder looks back."""
        return self.win_size - self.hop_size

    @property
    def latency_samples(self) -> int:
        """The algorithmic latency: a token's own samples, and the delay."""
        return self.samples_per_latent + self.delay_samples

    @property
    def min_samples(self) -> int:
        return 1

    def layout(self, window: WindowLength = None) -> StreamLayout:
        if window not in (None, WHOLE):
            raise ApcodecError(
                f"a window of {seconds_of(window):g} s: this model has no windows, it codes a clip as one stream"
            )
        return StreamLayout(self.delay_samples)

    def passes(self, layout: Layout) -> bool:
        return layout == self.layout()

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        return {"encode": ("encode",), "decode": ("decode",)}

    @property
    def states(self) -> dict[str, tuple[StateTensor, ...]]:
        return {"encode": self.encoder_state, "decode": self.decoder_state}

    @property
    def graphs(self) -> dict[str, GraphSignature]:
        def stateful(name: str, given: str, made: str, state: tuple[StateTensor, ...]) -> GraphSignature:
            def held(name: str, tensor: StateTensor) -> TensorSignature:
                return TensorSignature(name, "float32", ("batch", *tensor.shape))

            plain = signature(name, given, made, {"books": self.num_codebooks})
            before, after = ([held(getattr(each, kind), each) for each in state] for kind in ("name", "after"))
            return GraphSignature(name, (*plain.inputs, *before), (*plain.outputs, *after))

        audio, codes = "audio:float32(batch,samples)", "codes:int32(batch,books,latents)"
        return {
            "encode": stateful("encode", audio, codes, self.encoder_state),
            "decode": stateful("decode", codes, audio, self.decoder_state),
        }

    @property
    def reduced(self) -> tuple[str, ...]:
        return ("encode", "decode")

    def call_range(self, latents: int) -> tuple[int, int]:
        samples = latents * self.samples_per_latent
        return samples, samples

    @property
    def judged_latents(self) -> int:
        return _JUDGED_LATENTS

    def frames(self, samples: int) -> int:
        return self.latents(samples) * self.ratio

    def latents(self, samples: int) -> int:
        """Latents of a clip: as many as it takes until its last sample is final, ``ceil((samples + delay) / unit)``."""
        return self.layout().latents(samples, self.samples_per_latent)

    def axes_of_audio(self, samples: int) -> dict[str, int]:
        """The dynamic axes of the encoding graph for a clip of ``samples`` in one push, which is of whole tokens."""
        return self.axes_of_codes(self.latents(samples))

    def axes_of_call(self, samples: int) -> dict[str, int]:
        return self.axes_of_codes(samples // self.samples_per_latent)

    def samples_range(self, latents: int) -> tuple[int, int]:
        longest = latents * self.samples_per_latent - self.delay_samples
        return max(longest + 1 - self.samples_per_latent, 1), longest

    def training_samples(self, latents: int) -> int:
        return self.samples_range(latents)[1]


FAMILIES: dict[str, type[ModelSpec]] = {
    "apcodec-grn": WindowedSpec,
    "apcodec-layerscale": WindowedSpec,
    "apcodec-s": StreamSpec,
}
"""Published 48 kHz code; published 16 kHz code; the paper's streamable model, of which no code was published."""


def read_spec(values: Mapping[str, Any]) -> ModelSpec:
    """A model's numbers from JSON values.

    Raises:
        BundleError: The family is unknown, keys are missing or unknown, which are all named, or a number is impossible.
    """
    if "family" not in values:
        raise BundleError("the model's numbers lack family")
    if (kind := FAMILIES.get(str(values["family"]))) is None:
        raise BundleError(f"the model is of the family {values['family']!r}; this program knows {', '.join(FAMILIES)}")
    expected = {field.name for field in fields(kind)}
    if missing := sorted(expected - values.keys()):
        raise BundleError(f"the model's numbers lack {', '.join(missing)}")
    if unknown := sorted(values.keys() - expected):
        raise BundleError(f"the model's numbers hold unknown keys: {', '.join(unknown)}")
    return kind(**kind.read(values))
