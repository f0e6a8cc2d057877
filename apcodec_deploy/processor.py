"""Which kind of processor this is: what it is called, and which instructions decide how products are computed on it."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

_FILE = Path("/proc/cpuinfo")
# fmt: off
DECISIVE = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8",
    "asimd", "asimddp", "bf16", "i8mm", "sve",
)
# fmt: on
"""Instructions, in Linux's words, that decide how fast and in which numbers a network's products are computed."""
_BYTES = {"avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}
"""Those of them with which oneDNN multiplies matrices of bytes faster than those of float32."""
SWITCHES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables by which oneDNN, inside OpenVINO and PyTorch, computes as on a lesser processor."""
# fmt: off
_LEFT = {
    "SSE41": (), "AVX": (), "AVX2": ("avx2",), "AVX2_VNNI": ("avx2", "avx_vnni"),
    "AVX512_CORE": ("avx2", "avx512f"), "AVX512_CORE_VNNI": ("avx2", "avx512f", "avx512_vnni"),
}
# fmt: on
"""What is left of ``DECISIVE`` by values of those switches that take away products of bfloat16."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor, as far as results depend on it.

    Attributes:
        name: What its maker calls it.
        flags: All instruction sets, in the system's words; empty where the system does not tell.
        limit: The instruction set that ``SWITCHES`` name; empty where they name none.
    """

    name: str
    flags: frozenset[str]
    limit: str = ""

    @property
    def instructions(self) -> tuple[str, ...]:
        """Those of ``DECISIVE`` that it has."""
        return tuple(flag for flag in DECISIVE if flag in self.flags)

    @property
    def usable(self) -> tuple[str, ...]:
        """Those that oneDNN, inside OpenVINO and PyTorch, may use."""
        left = _LEFT.get(self.limit, DECISIVE)
        return tuple(flag for flag in self.instructions if flag in left)

    @property
    def allows_bfloat16(self) -> bool:
        """Whether oneDNN may use products of bfloat16, if the processor has them."""
        return self.limit not in _LEFT

    @property
    def multiplies_bytes(self) -> bool:
        """Whether products of 8-bit matrices are fast."""
        return not _BYTES.isdisjoint(self.usable)

    @property
    def key(self) -> str:
        """The same for processors that compute alike."""
        words = [self.name, *sorted(self.flags), f"limit {self.limit}"]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def this_processor() -> Processor:
    """The processor of this machine."""
    found: dict[str, str] = {}
    try:
        for line in _FILE.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip(), value.strip())
    except OSError:
        pass  # not Linux
    return Processor(
        name=found.get("model name") or platform.processor() or platform.machine(),
        flags=frozenset((found.get("flags") or found.get("Features") or "").split()),
        limit=next((value.upper() for name in SWITCHES if (value := os.environ.get(name, ""))), ""),
    )
