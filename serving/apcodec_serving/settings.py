"""What a model of the repository is loaded with, as the parameters of its ``config.pbtxt``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields

import apcodec_deploy
from apcodec_deploy.bundle import Bundle
from apcodec_deploy.errors import ModelMismatchError, ServingError
from apcodec_deploy.precision import AUTO
from apcodec_serving.services import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Text, as Triton holds it; empty or ``auto`` for what is left to ``apcodec_deploy.load``.

    Attributes:
        bundle: Its ``place``.
        fingerprint: Of the model that the repository was written for.
        backend: As in ``load``.
        device: As in ``load``.
        precision: As in ``load``.
        threads: CPU threads of one instance.
        engines: Absolute path of a folder of engines.
        window: Seconds, or ``whole``.
        max_seconds: The most audio of one request.
    """

    bundle: str = ""
    fingerprint: str
    backend: str = AUTO
    device: str = AUTO
    precision: str = AUTO
    threads: str
    engines: str = ""
    window: str = ""
    max_seconds: str

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> Settings:
        """From a model's parameters.

        Raises:
            ServingError: One is missing or unknown.
        """
        known = {field.name: field.default is MISSING for field in fields(cls)}
        lacking = {name for name, needed in known.items() if needed} - parameters.keys()
        if wrong := sorted(lacking | (parameters.keys() - known.keys())):
            raise ServingError(
                f"config.pbtxt lacks the parameters {', '.join(wrong)}, or has them and should not: write the "
                "repository again with 'apcodec triton --overwrite'"
            )
        return cls(**parameters)

    def parameters(self) -> dict[str, str]:
        """As a model's parameters; what is left to ``load`` is left out."""
        return {name: value for name, value in asdict(self).items() if value not in ("", AUTO)}

    @property
    def limits(self) -> Limits:
        """How requests are coded."""
        return Limits(window=self.window or None, seconds=float(self.max_seconds))

    def load(self, device: str | None = None) -> apcodec_deploy.Codec:
        """The codec.

        Args:
            device: Where it runs; None takes its own.

        Raises:
            ModelMismatchError: Another model is at the bundle's path by now.
            ApcodecError: See ``apcodec_deploy.load``.
        """
        opened = Bundle.at(self.bundle)
        if opened.fingerprint != self.fingerprint:
            raise ModelMismatchError(
                f"{opened.path} is model {opened.fingerprint[:16]}, the repository was written for "
                f"{self.fingerprint[:16]}: write it again with 'apcodec triton --overwrite'"
            )
        return apcodec_deploy.load(
            self.bundle or None,
            self.backend,
            device=device or self.device,
            precision=self.precision,
            threads=int(self.threads),
            engines=self.engines or None,
        )
