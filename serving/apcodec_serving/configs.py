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

    def config(self) -> Config:
        """Instances, batches and queue, as every model that computes has them.

        On a CPU a batch computes no faster than its requests one by one, and they would wait for each other: every
        request goes to the next instance that is free.
        """
        profile = self.profile
        if self.gpus is None:
            group: dict[str, Any] = {"kind": "KIND_CPU", "count": max(1, self.cpus // self.threads)}
            return {"max_batch_size": profile.rows, "instance_group": [group]}
        group = {"kind": "KIND_GPU", "count": profile.gpu_instances, "gpus": list(self.gpus)}
        queue = {"max_queue_delay_microseconds": profile.delay_us}
        batching = {"dynamic_batching": queue} if profile.delay_us else {}
        return {"max_batch_size": profile.rows, "instance_group": [group], **batching}


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
