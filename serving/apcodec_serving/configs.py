"""``config.pbtxt``: a model's configuration as plain values, held against Triton's own definition of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apcodec_deploy.errors import require
from apcodec_serving.profiles import Profile

Config = Mapping[str, Any]
Files = dict[str, bytes]
"""What a repository holds, by its path there."""
STREAMS = 1024
"""Streams of an instance; more wait until one ends."""
IDLE_SECONDS = 60
"""Silence after which a stream's client is taken for gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where instances run.

    Attributes:
        profile: How the machine is divided.
        cpus: CPUs that there are.
        threads: CPU threads of an instance.
        gpus: Numbers of the GPUs; all of them where empty, none where None.
    """

    profile: Profile
    cpus: int
    threads: int
    gpus: tuple[int, ...] | None

    def for_clips(self) -> Config:
        """Instances, batches and queue, as every model has them that computes clips.

        On a CPU a batch of clips computes no faster than they do one by one, and they would wait for each other: every
        request goes to the next instance that is free.
        """
        delay = self._delay_us
        batching = {"dynamic_batching": {"max_queue_delay_microseconds": delay}} if delay else {}
        return {**self._instances(), **batching}

    def for_streams(self) -> Config:
        """The same for a model of streams: each stays with one instance, which keeps its state.

        The strategy ``oldest`` puts any streams that wait into a batch, and an instance may have many more streams than
        rows. With ``direct`` a stream would hold a row of the batch for all its life.

        There are no control inputs. Triton gives the Python backend flags and correlation id with the request. As a
        tensor, the id would have one type: Triton 2.51 writes an id of the other type beyond the tensor's memory.
        """
        oldest = {"max_candidate_sequences": STREAMS, "max_queue_delay_microseconds": self._delay_us}
        batching = {"max_sequence_idle_microseconds": IDLE_SECONDS * 1_000_000, "oldest": oldest}
        return {**self._instances(), "sequence_batching": batching}

    @property
    def _delay_us(self) -> int:
        return 0 if self.gpus is None else self.profile.delay_us

    def _instances(self) -> Config:
        group: dict[str, Any] = {"kind": "KIND_CPU", "count": max(1, self.cpus // self.threads)}
        if self.gpus is not None:
            group = {"kind": "KIND_GPU", "count": self.profile.gpu_instances, "gpus": list(self.gpus)}
        return {"max_batch_size": self.profile.rows, "instance_group": [group]}


def config_text(config: Config) -> str:
    """A configuration as the text of ``config.pbtxt``.

    Args:
        config: Values by the names of Triton's ``ModelConfig``; a name or a type that it does not know is an error.

    Raises:
        MissingDependencyError: Triton's client is not installed.
    """
    definition = require("tritonclient.grpc.model_config_pb2", extra="serve")
    from google.protobuf import json_format, text_format

    text: str = text_format.MessageToString(json_format.ParseDict(config, definition.ModelConfig()))
    return text
