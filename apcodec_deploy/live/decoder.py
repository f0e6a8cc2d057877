"""A stream of codes that is decoded while they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apcodec_deploy.audio.resampling import exactly, resampled_length
from apcodec_deploy.errors import BitstreamError, SessionError
from apcodec_deploy.live.session import Session, Step, run
from apcodec_deploy.passing import looked_up


class DecoderSession(Session):
    """Codes to audio, while they come."""

    direction = "decode"

    def push(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Decode what has come: the audio (C, n) that no later code changes, perhaps none.

        Args:
            codes: Integers (C, Q, n), n may be 0, as ``EncodedAudio.codes`` and an ``EncoderSession`` have them.

        Raises:
            BitstreamError: They have another shape, are no integers, or are no codes of this model.
            SessionError: The session was flushed.
            BackendError: It could not be computed. Whatever is raised, the session is as it was.
        """
        return run([self], [codes])[0]

    def flush(
        self, codes: NDArray[np.integer[Any]] | None = None, *, samples: int | None = None
    ) -> NDArray[np.float32]:
        """End the stream: the audio (C, n) that is left.

        Only the last token, which the encoder's ``flush`` gives, reaches beyond the end of what was coded. So give its
        codes and ``samples`` here, and exactly so many samples come out in all.

        Args:
            codes: What the encoder's ``flush`` gave; None where it was pushed.
            samples: Samples per channel of the whole stream, as ``EncoderSession.samples`` counts them. None gives all
                that the codes hold, which is up to a token more.

        Raises:
            SessionError: The codes are not those of so many samples, or more have come out already.
        """
        with self._lock:
            last = np.zeros((self.channels, self.model.spec.num_codebooks, 0), np.int32) if codes is None else codes
            if samples is not None:
                self._open()
                self._check_count(samples, self.tokens + self._checked(last).shape[2])
            rest = run([self], [last], last=True)[0]
            if samples is None:
                return rest
            before = self.samples - rest.shape[1]
            rest = np.concatenate(list(exactly([rest], samples - before)) or [rest[:, :0]], axis=1)
            self.samples = samples
            return rest

    @property
    def _rates(self) -> tuple[int, int]:
        return self.model.spec.sample_rate, self.sample_rate

    @property
    def _model_delay(self) -> int:
        return self.model.spec.delay_samples

    @property
    def _model_wait(self) -> int:
        return 0

    @property
    def _per_token(self) -> int:
        return 1

    def _checked(self, given: Any) -> NDArray[Any]:
        array, books = np.asarray(given), self.model.spec.num_codebooks
        if not np.issubdtype(array.dtype, np.integer) or array.ndim != 3 or array.shape[:2] != (self.channels, books):
            raise BitstreamError(
                f"codes are {array.dtype} {list(array.shape)}; integers ({self.channels}, {books}, tokens) are expected"
            )
        return looked_up(array, self.model.spec) if array.size else array.astype(np.int32)

    def _begin(self, given: NDArray[Any], *, last: bool) -> Step:
        return Step(given, given, self._left, last)

    def _end(self, step: Step, made: NDArray[Any]) -> NDArray[Any]:
        unit = self.model.spec.samples_per_latent
        late = max(self._model_delay - (self.tokens - step.rows.shape[2]) * unit, 0)
        audio = self._resampler.push(made[:, late:])
        if step.last:
            audio = np.concatenate((audio, self._resampler.finish()), axis=1)
        self.samples += audio.shape[1]
        return audio

    def _check_count(self, samples: int, tokens: int) -> None:
        spec = self.model.spec
        needed = spec.latents(resampled_length(samples, self.sample_rate, spec.sample_rate)) if samples else 0
        if needed != tokens:
            raise SessionError(f"a stream of {samples} samples has {needed} tokens, and {tokens} were given")
        if samples < self.samples:
            raise SessionError(
                f"{self.samples} samples have come out, and the stream has {samples}; give the last codes to flush, "
                "not to push"
            )
