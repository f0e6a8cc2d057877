"""A stream of audio that is coded while it comes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.samples import check_samples
from apcodec_deploy.errors import AudioError
from apcodec_deploy.live.session import Session, Step, run


class EncoderSession(Session):
    """Audio to codes, while it comes."""

    direction = "encode"

    def push(self, block: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
        """Code what has come: codes (C, Q, n) of the tokens that are whole now, perhaps none.

        Args:
            block: Floats, full scale at 1: (C, n), or (n,) where there is one channel; n may be 0.

        Raises:
            AudioError: It has another shape, is not of floats, or has samples that no audio has.
            SessionError: The session was flushed.
            BackendError: It could not be computed. Whatever is raised, the session is as it was.
        """
        return run([self], [block])[0]

    def flush(self, block: NDArray[np.floating[Any]] | None = None) -> NDArray[np.int16]:
        """End the stream: the codes (C, Q, n) of what is left. A stream without samples has none.

        ``samples`` is then what the decoder needs to know to give exactly as many.

        Args:
            block: The last audio, as ``push`` takes it; None where all was pushed.

        Raises:
            ApcodecError: As ``push`` does. Whatever is raised, the session is as it was.
        """
        return run([self], [np.zeros((self.channels, 0), np.float32) if block is None else block], last=True)[0]

    @property
    def _rates(self) -> tuple[int, int]:
        return self.sample_rate, self.model.spec.sample_rate

    @property
    def _model_delay(self) -> int:
        return 0

    @property
    def _model_wait(self) -> int:
        return self._per_token

    @property
    def _per_token(self) -> int:
        return self.model.spec.samples_per_latent

    def _checked(self, given: Any) -> NDArray[Any]:
        array = np.asarray(given)
        if not np.issubdtype(array.dtype, np.floating):
            raise AudioError(f"audio of type {array.dtype}; floats with full scale at 1 are expected (int16 / 32768)")
        block = array[None] if array.ndim == 1 else array
        if block.ndim != 2 or len(block) != self.channels:
            raise AudioError(f"audio of shape {list(array.shape)}; ({self.channels}, samples) is expected")
        block = block.astype(np.float32) if block.dtype == np.float16 else block
        check_samples(block, self.samples)
        return block.astype(np.float32, copy=False)

    def _begin(self, given: NDArray[Any], *, last: bool) -> Step:
        parts = [self._left, self._resampler.push(given)]
        if last:
            parts.append(self._resampler.finish())
        audio = np.concatenate(parts, axis=1)
        samples = self.tokens * self._per_token + audio.shape[1]
        if not last:
            whole = audio.shape[1] - audio.shape[1] % self._per_token
            return Step(given, audio[:, :whole], audio[:, whole:].copy(), last)
        tokens = self.model.spec.latents(samples) - self.tokens if samples else 0
        silence = tokens * self._per_token - audio.shape[1]
        return Step(given, np.pad(audio, ((0, 0), (0, silence))), audio[:, :0], last)

    def _end(self, step: Step, made: NDArray[Any]) -> NDArray[Any]:
        self.samples += step.given.shape[1]
        return made.astype(np.int16)
