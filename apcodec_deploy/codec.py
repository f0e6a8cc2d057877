"""Audio to codes and back: the object that a user holds.

The way of a clip:  audio at any rate -> resample -> windows -> backend -> codes, and back:
codes -> windows -> backend -> join -> resample -> exactly the samples that came in. A causal model has one stream where
others have windows; ``passing.py`` knows which. Everything is a stream of blocks, so an array in memory and an hour on
disk take the same way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.arrays import checked_clip
from apcodec_deploy.audio.resampling import check_rate, exactly, resample
from apcodec_deploy.backends.base import Backend, BackendOptions
from apcodec_deploy.backends.choice import create
from apcodec_deploy.bitstream.gaps import Gap, silenced
from apcodec_deploy.bitstream.header import FINGERPRINT_BYTES, Header
from apcodec_deploy.bundle import Bundle, embedded_maker
from apcodec_deploy.encoded import EncodedAudio, header_of
from apcodec_deploy.errors import BackendError, ModelMismatchError, SessionError
from apcodec_deploy.families import StreamSpec
from apcodec_deploy.live.decoder import DecoderSession
from apcodec_deploy.live.encoder import EncoderSession
from apcodec_deploy.live.session import LiveModel, Session, not_causal, push_many
from apcodec_deploy.machine import give_back_memory
from apcodec_deploy.passing import passing
from apcodec_deploy.precision import AUTO
from apcodec_deploy.spec import Layout, ModelSpec, WindowLength


class Codec:
    """A model with the backend that runs it. Safe to use from several threads.

    It can be pickled: the other process loads it again, from the path of its bundle and the options of ``load``.
    After a fork, ONNX Runtime on the CPU goes on; other backends raise an error that says what to do.

    Its numbers are attributes: ``sample_rate``, ``bitrate``, ``latent_rate``, ``num_codebooks``, ``codebook_size``,
    ``samples_per_latent``, ``fingerprint``. All others are in ``spec``.
    """

    def __init__(self, bundle: Bundle, backend: Backend, options: BackendOptions | None = None) -> None:
        """Join the two.

        Args:
            bundle: The model.
            backend: What runs it; closed with the codec.
            options: What the backend was made from, with which it can be made elsewhere; None where it cannot be.
        """
        self.bundle = bundle
        self.backend = backend
        self._options = options
        self.spec: ModelSpec = bundle.spec
        self.sample_rate = self.spec.sample_rate
        self.bitrate = self.spec.bitrate
        self.latent_rate = self.spec.latent_rate
        self.num_codebooks = self.spec.num_codebooks
        self.codebook_size = self.spec.codebook_size
        self.samples_per_latent = self.spec.samples_per_latent
        self.fingerprint = bundle.fingerprint
        self._passing = passing(self.spec, backend)

    def __enter__(self) -> Codec:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Codec {self.bundle.name}: {self.sample_rate} Hz, {self.bitrate:g} bit/s, {self.backend.name}>"

    def __reduce__(self) -> tuple[Callable[..., Codec], tuple[Any, ...]]:
        """See the class.

        Raises:
            BackendError: It was not made by ``load``, so nobody knows how to make its backend again.
        """
        if (options := self._options) is None:
            raise BackendError(f"the backend of {self!r} stays in its process; call load in the other one")
        if options.engines is not None:
            options = replace(options, engines=os.path.abspath(options.engines))
        return _loaded_again, (self.bundle.place, self.fingerprint, options)

    def close(self) -> None:
        """Free the backend; it is loaded again where the codec is used after."""
        self.backend.close()
        give_back_memory()

    def encode(
        self, audio: NDArray[np.floating[Any]], sample_rate: int | None = None, *, window: WindowLength = None
    ) -> EncodedAudio:
        """Code one clip.

        Args:
            audio: Float samples, full scale at 1: (N,) or (C, N), N at least 1. Channels are coded one by one.
            sample_rate: Hz; the model's own where None. Other rates are resampled.
            window: ``"whole"`` codes the clip in one piece, as the published inference does; a number of seconds cuts
                it into windows of that length; None takes the model's default.

        Raises:
            AudioError: The array has no samples, too many axes, no floats, or values that are not finite or beyond full
                scale by more than 40 dB.
        """
        return self.encode_batch([audio], sample_rate, window=window)[0]

    def decode(self, encoded: EncodedAudio, *, window: WindowLength = None) -> NDArray[np.float32]:
        """Decode one clip: float32 of exactly the shape and at the rate that was encoded.

        Args:
            encoded: Codes of this model.
            window: As in ``encode``; None takes the windows that the codes were made with.

        Raises:
            ModelMismatchError: The codes are another model's.
        """
        return self.decode_batch([encoded], window=window)[0]

    def encode_batch(
        self,
        audio: Sequence[NDArray[np.floating[Any]]],
        sample_rate: int | None = None,
        *,
        window: WindowLength = None,
    ) -> list[EncodedAudio]:
        """Code several clips of one sample rate; each gets the codes that it gets alone. See ``encode``."""
        audio = list(audio)
        clips = [checked_clip(clip) for clip in audio]
        layout = self.layout(window)
        rate = check_rate(self.sample_rate if sample_rate is None else sample_rate)
        headers = [
            self.header(rate, clip.shape[0], layout, one_dimensional=np.ndim(given) == 1)
            for clip, given in zip(clips, audio, strict=True)
        ]
        passed = ((resample([clip], rate, self.sample_rate), layout) for clip in clips)
        codes: list[list[NDArray[np.int16]]] = [[] for _ in clips]
        for index, part in self._passing.encode(passed):
            codes[index].append(part)
        joined = [np.concatenate(parts, axis=2) for parts in codes]
        return [
            EncodedAudio(part, header.counted(clip.shape[1], part.shape[2]))
            for part, header, clip in zip(joined, headers, clips, strict=True)
        ]

    def decode_batch(
        self, encoded: Sequence[EncodedAudio], *, window: WindowLength = None
    ) -> list[NDArray[np.float32]]:
        """Decode several clips; each gives the audio that it gives alone. See ``decode``."""
        for clip in (encoded := list(encoded)):
            self.check(header_of(clip))
        passed = (([clip.codes], self.layout(window, clip.header.layout)) for clip in encoded)
        sounds: list[list[NDArray[np.float32]]] = [[] for _ in encoded]
        for index, part in self._passing.decode(passed):
            sounds[index].append(part)
        clips = []
        for clip, parts in zip(encoded, sounds, strict=True):
            audio = np.concatenate(list(self._finish(parts, clip.header, clip.gaps)), axis=1)
            clips.append(audio[0] if clip.header.one_dimensional else audio)
        return clips

    def encode_stream(
        self, blocks: Iterable[NDArray[np.float32]], sample_rate: int, layout: Layout
    ) -> Generator[NDArray[np.int16], None, None]:
        """Code a stream of finite audio (C, n) in bounded memory: codes (C, Q, n) as they are made."""
        audio = resample(blocks, sample_rate, self.sample_rate)
        for _, codes in self._passing.encode([(audio, layout)]):
            yield codes

    def decode_stream(
        self,
        blocks: Iterable[NDArray[np.int16]],
        header: Header,
        gaps: Sequence[Gap] = (),
        *,
        window: WindowLength = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Decode a stream of codes (C, Q, n) in bounded memory: audio (C, n), ``header.samples`` in all.

        Args:
            blocks: The codes that ``header`` describes.
            header: Checked against this model.
            gaps: Latents to silence; the sequence may grow while the stream is read.
            window: As in ``decode``.
        """
        self.check(header)
        passed = self._passing.decode([(blocks, self.layout(window, header.layout))])
        yield from self._finish((audio for _, audio in passed), header, gaps)

    def encoder(self, sample_rate: int | None = None, channels: int = 1) -> EncoderSession:
        """A session that codes a stream while it comes, at that rate (the model's where None).

        Raises:
            SessionError: The model is not causal.
        """
        return EncoderSession(self._live_model, self.sample_rate if sample_rate is None else sample_rate, channels)

    def decoder(self, sample_rate: int | None = None, channels: int = 1) -> DecoderSession:
        """A session that decodes a stream while its codes come, to audio of that rate. See ``encoder``."""
        return DecoderSession(self._live_model, self.sample_rate if sample_rate is None else sample_rate, channels)

    def push_many(self, sessions: Sequence[Session], given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Push a block to each of many sessions of this codec, in few batches; each gives what it gives alone.

        Raises:
            SessionError: A session is another codec's, is there twice, or was flushed.
            ApcodecError: As ``push`` does. Whatever is raised, all sessions are as they were.
        """
        return push_many(self._live_model, sessions, given)

    @cached_property
    def _live_model(self) -> LiveModel:
        if not isinstance(self.spec, StreamSpec):
            raise SessionError(not_causal(self.bundle.name, self.spec))
        return LiveModel(self.spec, self.backend, self.fingerprint)

    def layout(self, window: WindowLength = None, default: Layout | None = None) -> Layout:
        """How a clip passes: as the user asked for, else as a file says, else the model's own way."""
        layout = default if default is not None and window is None else self.spec.layout(window)
        layout.check(0)
        return layout

    def header(
        self,
        sample_rate: int,
        channels: int,
        layout: Layout,
        *,
        one_dimensional: bool,
        trailer: bool = False,
    ) -> Header:
        """The header of a clip that this model is going to code; its counts are not known yet."""
        return Header(
            fingerprint=self.fingerprint[: 2 * FINGERPRINT_BYTES],
            sample_rate=sample_rate,
            model_rate=self.sample_rate,
            channels=channels,
            samples=0,
            latents=0,
            codebooks=self.num_codebooks,
            bits_per_code=self.spec.bits_per_code,
            samples_per_latent=self.samples_per_latent,
            layout=layout,
            one_dimensional=one_dimensional,
            trailer=trailer,
        )

    def check(self, header: Header) -> None:
        """Refuse codes of another model.

        Raises:
            ModelMismatchError: The fingerprint or a number differs.
        """
        own = self.header(header.sample_rate, header.channels, header.layout, one_dimensional=header.one_dimensional)
        header.check_model(own, self.bundle.name, maker=embedded_maker)
        if not self.spec.passes(header.layout):
            raise ModelMismatchError(f"the header says windows: {header.layout}; that is not how this model codes")

    def _finish(
        self, audio: Iterable[NDArray[np.float32]], header: Header, gaps: Sequence[Gap]
    ) -> Iterator[NDArray[np.float32]]:
        """Silenced in the gaps, at the source's rate and of its exact length."""
        sound = silenced(audio, gaps, self.samples_per_latent)
        return exactly(resample(sound, self.sample_rate, header.sample_rate), header.samples)


def load(
    bundle: str | Path | None = None,
    backend: str = AUTO,
    *,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int | None = None,
    engines: str | Path | None = None,
) -> Codec:
    """Load a model.

    Args:
        bundle: A folder made by ``apcodec export``, or an embedded model: ``demo``, the default, or ``demo-s``.
        backend: ``onnxruntime``, ``openvino`` or ``tensorrt``. ``auto`` takes the first of these that works: TensorRT
            engines, ONNX Runtime on CUDA, OpenVINO, ONNX Runtime on the CPU. ``codec.backend.reason`` says why.
        device: ``cpu``, ``cuda``, or ``cuda:1`` for the second GPU. ``auto`` takes what the backend can use.
        precision: ``float32``, ``float16`` (GPU), ``int8`` (CPU) or ``bfloat16`` (OpenVINO). ``auto`` takes half
            precision on TensorRT if such engines were built, the fastest proven precision on OpenVINO, else float32.
        threads: CPU threads for one call. None takes all that this process may use.
        engines: A folder of TensorRT engines that ``apcodec build --out`` made. None takes the user's cache.

    Raises:
        BundleError: It is no bundle, it is damaged, or it lacks that precision.
        BackendError: The backend does not work here.
        EngineError: You asked for TensorRT, and no engines can run here.
    """
    opened = Bundle.find(bundle)
    options = BackendOptions(name=backend, device=device, precision=precision, threads=threads, engines=engines)
    return Codec(opened, create(opened, options), options)


def _loaded_again(place: str, fingerprint: str, options: BackendOptions) -> Codec:
    """A codec that has travelled.

    Raises:
        ModelMismatchError: Another model is at the bundle's path here.
        ApcodecError: See ``load``.
    """
    bundle = Bundle.at(place)
    if bundle.fingerprint != fingerprint:
        raise ModelMismatchError(
            f"the codec that was sent here has model {fingerprint[:16]}, and in {bundle.path} there is "
            f"{bundle.fingerprint[:16]}; every process needs the same bundle at that path"
        )
    return Codec(bundle, create(bundle, options), options)
