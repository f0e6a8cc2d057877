"""What depends on the card when ONNX Runtime runs on a GPU, decided in one place: batch, graphs, memory, TF32."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.engines.profile import Profile, Range, Shapes
from apcodec_deploy.errors import BackendError
from apcodec_deploy.families import DECODE, ENCODE, STREAM_GRAPHS

TF32_VARIABLE = "APCODEC_TF32"
"""Environment variable: ``1`` lets a GPU round the factors of float32 products to 10 bits, which changes codes."""
_MOST_BATCH = 256
"""Windows beyond which a card gains nothing more and callers only wait longer."""
_PUSHED = (1, 4, 16, 64, 256)
"""Live streams that go on at a time, as in the profile ``streaming`` of engines."""
UNKNOWN_CARD_BATCH = 16
"""Where nothing here can ask the card for its memory."""
_SHARE = 0.6
"""Of the memory that is free: the rest is for what goes from graph to graph, for who shares the card, and for what a
library takes without asking."""
_FLOAT_BYTES = 4
_MARGIN = 1.5
"""Of what tensors take: an arena has gaps, and convolutions need some room to work in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardUse:
    """How a card is used.

    Attributes:
        batch: Windows at a time.
        limits: Bytes of the card that the session of each graph may take; all graphs stay loaded.
        tf32: Whether float32 products may round.
        graphs: Whether calls of the usual shapes are recorded as CUDA graphs.
    """

    batch: int
    limits: Mapping[str, int]
    tf32: bool = False
    graphs: bool = True

    @classmethod
    def of(cls, bundle: Bundle, free: int) -> CardUse:
        """Decide it.

        Args:
            bundle: The model.
            free: Bytes of the card that nobody uses.

        Raises:
            BackendError: ``APCODEC_TF32`` is neither 0 nor 1.
        """
        weights, window = _weights(bundle), window_bytes(bundle)
        room, each = max(0, int(_SHARE * free) - sum(weights.values())), sum(window.values())
        fitting = max(1, min(_MOST_BATCH, room // each))
        limits = {name: weights[name] + room * held // each for name, held in window.items()}
        return cls(batch=1 << (fitting.bit_length() - 1), limits=limits, tf32=tf32_wanted())

    @property
    def halved(self) -> CardUse:
        """For a card that had less memory than was thought."""
        return replace(self, batch=max(1, self.batch // 2))

    def profile(self, bundle: Bundle) -> Profile:
        """The batches and lengths that come in one go, of which the usual ones are recorded.

        Single windows, and many. Pushes of live streams are filled up to the next of a few numbers of streams.
        """
        window, live = bundle.spec.layout().length, bundle.spec.push_latents
        pushes = [count for count in _PUSHED if count <= self.batch] if live else []
        shapes = [Shapes(Range(count, count, count), Range(1, 1, live)) for count in pushes]
        lengths = Range(live + 1, window, window)
        shapes += [Shapes(Range(1, count, count), lengths) for count in sorted({1, self.batch})]
        return Profile(name="onnxruntime", shapes=tuple(shapes), cuda_graphs=self.graphs)

    def session_options(self, name: str, index: int, stream: int) -> dict[str, str]:
        """Options of ONNX Runtime's CUDA provider for the session of a graph.

        Each session has an arena of its own, and all limits together are what the model may take. ONNX Runtime can also
        share one arena among all sessions of a process (``create_and_register_allocator_v2``). Recorded graphs forbid
        that: they hold addresses that the arena counts as free, and gives to the weights of a session that is loaded
        later. From Python such an arena can be registered, and not given back when a model is closed.
        """
        return {
            **provider_options(index, tf32=self.tf32),
            "user_compute_stream": str(stream),
            "do_copy_in_default_stream": "0",
            "enable_cuda_graph": str(int(self.graphs)),
            "arena_extend_strategy": "kSameAsRequested",
            "gpu_mem_limit": str(max(1, self.limits[name])),
        }

    def __str__(self) -> str:
        return (
            f"batches of up to {self.batch}, CUDA graphs {'on' if self.graphs else 'off'}, "
            f"TF32 {'on' if self.tf32 else 'off'}"
        )


def provider_options(index: int, *, tf32: bool = False) -> dict[str, str]:
    """What every session on a GPU is set to.

    Convolutions are chosen by rule, because trying them all is repeated whenever a length changes, which takes longer
    than the work; and float32 means float32 unless TF32 was asked for, because that changes codes.
    """
    return {"device_id": str(index), "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": str(int(tf32))}


def tf32_wanted() -> bool:
    """Whether the environment asks for TF32.

    Raises:
        BackendError: It says neither yes nor no.
    """
    held = os.environ.get(TF32_VARIABLE) or "0"
    if held not in ("0", "1"):
        raise BackendError(f"{TF32_VARIABLE} is {held!r}; 0 or 1 is expected")
    return held == "1"


def window_bytes(bundle: Bundle) -> dict[str, int]:
    """About what a window takes in the session of each graph while it is computed, what goes in and out left out.

    The numbers of tensors that are there at a time are counted on exported graphs; a test counts them again.
    """
    spec = bundle.spec
    network = bundle.manifest.get("network")
    widest = max([0, *(value for key, value in _numbers(network) if key.endswith(("dim", "channels")))])
    scores = spec.codebook_size / spec.ratio
    held = {
        "stft": 8 * spec.bins,
        "encoder": 3 * widest,
        "quantizer": 3 * scores,
        "dequantizer": scores,
        "decoder": max(6 * spec.bins, 3 * widest),
        "istft": 2 * spec.bins,
    }
    # A graph of a whole direction may hold what its parts would.
    held |= {
        whole: sum(held[name] for name in parts) for whole, parts in zip(STREAM_GRAPHS, (ENCODE, DECODE), strict=True)
    }
    frames = spec.layout().length * spec.ratio
    return {name: int(_MARGIN * held[name] * frames * _FLOAT_BYTES) for name in spec.graphs}


def _weights(bundle: Bundle) -> dict[str, int]:
    """Bytes of each graph's weights, by its float32 file; that one is missing is told where it is loaded."""
    files = {name: bundle.path / bundle.graph_key(name)[0] for name in bundle.spec.graphs}
    return {name: file.stat().st_size if file.exists() else 0 for name, file in files.items()}


def _numbers(network: object) -> list[tuple[str, int]]:
    """The whole numbers of a network's shape; none where its exporter did not note it."""
    items = network.items() if isinstance(network, dict) else ()
    return [(str(key), value) for key, value in items if type(value) is int]
