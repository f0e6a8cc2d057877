"""What the models take and give. A row is a channel of a clip, or a stream; all rows of a request have one length.

Shapes: B rows, N samples, Q codebooks, L latents. Triton puts B in front of the dims that stand here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from apcodec_deploy.families import StreamSpec
from apcodec_deploy.spec import ModelSpec

ANY = -1
AUDIO, CODES, SAMPLES, SAMPLE_RATE, FINGERPRINT = "AUDIO", "CODES", "SAMPLES", "SAMPLE_RATE", "FINGERPRINT"
ENCODE, DECODE = "apcodec_encode", "apcodec_decode"
STREAM_ENCODE, STREAM_DECODE = "apcodec_stream_encode", "apcodec_stream_decode"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: its name, its type as Triton calls it, and its dims behind the batch."""

    name: str
    type: str
    dims: tuple[int, ...]
    optional: bool = False

    def config(self) -> dict[str, Any]:
        """As ``config.pbtxt`` has it."""
        values = {"name": self.name, "data_type": self.type, "dims": list(self.dims)}
        return {**values, "optional": True} if self.optional else values


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A model of the repository that is this runtime.

    Attributes:
        name: Of the model.
        service: Of the class in ``python_backend`` that answers its requests.
        inputs: What it takes.
        outputs: What it gives.
        streams: Whether its requests are pushes of streams, of one row each.
    """

    name: str
    service: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    streams: bool = False


def audio() -> Tensor:
    """Samples, full scale at 1."""
    return Tensor(AUDIO, "TYPE_FP32", (ANY,))


def codes(spec: ModelSpec) -> Tensor:
    """Codes of a model."""
    return Tensor(CODES, "TYPE_INT32", (spec.num_codebooks, ANY))


def interfaces(spec: ModelSpec) -> tuple[Interface, ...]:
    """The models of a repository. What encoding gives, decoding takes as it is, and gives back the clip's length.

    Streams go in and out as clips do. Each direction has a model of its own: its inputs are all needed, its batches
    compute one thing, and who only codes has no decoder loaded.
    """

    def about(*, optional: bool) -> tuple[Tensor, ...]:
        return (
            Tensor(SAMPLES, "TYPE_INT64", (1,), optional),
            Tensor(SAMPLE_RATE, "TYPE_INT32", (1,), optional),
            Tensor(FINGERPRINT, "TYPE_STRING", (1,), optional),
        )

    rate = Tensor(SAMPLE_RATE, "TYPE_INT32", (1,), optional=True)
    coded = (codes(spec), *about(optional=False))
    encode = Interface(name=ENCODE, service="EncodeModel", inputs=(audio(), rate), outputs=coded)
    decode = Interface(
        name=DECODE, service="DecodeModel", inputs=(codes(spec), *about(optional=True)), outputs=(audio(),)
    )
    if not isinstance(spec, StreamSpec):
        return encode, decode
    return (
        encode,
        decode,
        replace(encode, name=STREAM_ENCODE, service="StreamEncodeModel", streams=True),
        replace(decode, name=STREAM_DECODE, service="StreamDecodeModel", streams=True),
    )
