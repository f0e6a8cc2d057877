"""Three ways to divide a machine among requests."""

from __future__ import annotations

from dataclasses import dataclass

from apcodec_deploy.errors import ServingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How many instances of a model there are, and which requests they take together.

    Attributes:
        name: What the user calls it.
        threads: CPU threads of an instance; there are as many instances as that leaves CPUs for. None: one instance,
            with all threads.
        gpu_instances: Instances on a GPU.
        rows: The most rows of a request, and of a batch of several requests.
        delay_us: Microseconds that a request may wait for others.
    """

    name: str
    threads: int | None
    gpu_instances: int
    rows: int
    delay_us: int

    def threads_of(self, cpus: int) -> int:
        """CPU threads of an instance, on so many CPUs."""
        return cpus if self.threads is None else min(self.threads, cpus)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(name="latency", threads=None, gpu_instances=1, rows=8, delay_us=0),
        Profile(name="balanced", threads=4, gpu_instances=1, rows=16, delay_us=1_000),
        Profile(name="throughput", threads=1, gpu_instances=2, rows=64, delay_us=10_000),
    )
}


def profile_named(name: str) -> Profile:
    """A profile by its name.

    Raises:
        ServingError: There is none of that name.
    """
    if (profile := PROFILES.get(name)) is None:
        raise ServingError(f"there is no profile {name!r}; name one of {', '.join(PROFILES)}")
    return profile
