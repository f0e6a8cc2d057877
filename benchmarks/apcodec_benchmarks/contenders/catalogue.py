"""Which contenders there are, and what makes each: data, so that loading the list loads none of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from apcodec_benchmarks.contenders.base import Contender, Settings
from apcodec_deploy.errors import BenchmarkError, ContenderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contender.

    Attributes:
        name: As users call it.
        factory: ``module:function``, which takes ``Settings``.
        options: What the factory is told beside the settings.
        gpu_only: Whether it needs a GPU.
        cpu_only: Whether it runs on the CPU alone.
        usual: Whether it runs where nobody names contenders.
        live: Whether it can code streams while they come.
    """

    name: str
    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    gpu_only: bool = False
    cpu_only: bool = False
    usual: bool = True
    live: bool = False

    def make(self, settings: Settings) -> Contender:
        """Load it.

        Raises:
            ContenderError: It cannot run here; why not is told.
        """
        if self.gpu_only and settings.device == "cpu":
            raise ContenderError("it runs on a GPU only; ask for one with --device cuda")
        if self.cpu_only and settings.device != "cpu":
            raise ContenderError("it runs on the CPU only; leave out --device")
        module, _, function = self.factory.partition(":")
        try:
            make: Callable[[Settings], Contender] = getattr(importlib.import_module(module), function)
        except (
            ImportError,
            OSError,
            AttributeError,
        ) as error:  # a package that lacks a shared library can raise OSError
            advice = "; pip install 'apcodec-deploy[bench]'" if module.startswith(_HERE) else ""
            raise ContenderError(f"{error}{advice}") from error
        return make(settings)


_HERE = "apcodec_benchmarks.contenders"
_HUGGINGFACE = f"{_HERE}.huggingface"
APCODEC = f"{_HERE}.apcodec:apcodec"
"""The factory of those that run a bundle as it is."""

ENTRIES = (
    Entry(name="apcodec", factory=APCODEC, live=True),
    Entry(name="apcodec-whole", factory=APCODEC, options={"window": "whole"}),
    Entry(
        name="apcodec-ort-int8", factory=APCODEC, options={"precision": "int8"}, cpu_only=True, usual=False, live=True
    ),
    Entry(name="apcodec-openvino", factory=APCODEC, options={"backend": "openvino"}, cpu_only=True, live=True),
    Entry(
        name="apcodec-bf16",
        factory=APCODEC,
        options={"backend": "openvino", "precision": "bfloat16"},
        cpu_only=True,
    ),
    Entry(
        name="apcodec-int8",
        factory=APCODEC,
        options={"backend": "openvino", "precision": "int8"},
        cpu_only=True,
        live=True,
    ),
    Entry(name="apcodec-plain", factory=f"{_HERE}.plain:plain"),
    Entry(name="apcodec-tensorrt", factory=APCODEC, options={"backend": "tensorrt"}, gpu_only=True),
    Entry(name="apcodec-pytorch", factory=f"{_HERE}.reference:pytorch"),
    Entry(name="apcodec-compiled", factory=f"{_HERE}.reference:pytorch", options={"compiled": True}, gpu_only=True),
    Entry(
        name="apcodec-captured",
        factory=f"{_HERE}.captured:captured",
        gpu_only=True,
        usual=False,
    ),
    Entry(name="encodec-24k", factory=f"{_HUGGINGFACE}:encodec", options={"variant": "24k"}, live=True),
    Entry(name="encodec-48k", factory=f"{_HUGGINGFACE}:encodec", options={"variant": "48k"}),
    Entry(name="dac-44k", factory=f"{_HUGGINGFACE}:dac", options={"variant": "44k"}),
    Entry(name="dac-24k", factory=f"{_HUGGINGFACE}:dac", options={"variant": "24k"}, usual=False),
    Entry(name="dac-16k", factory=f"{_HUGGINGFACE}:dac", options={"variant": "16k"}, usual=False),
    Entry(name="mimi", factory=f"{_HUGGINGFACE}:mimi", live=True),
    Entry(name="audiodec", factory=f"{_HERE}.audiodec:audiodec", live=True),
    Entry(name="opus", factory=f"{_HERE}.opus:opus"),
    Entry(name="opus-12k", factory=f"{_HERE}.opus:opus", options={"kbps": 12}, usual=False),
)
"""APCodec first, then the others."""

CEILING = Entry(name="ceiling", factory=f"{_HERE}.ceiling:Ceiling")
"""The machine itself, which is timed in the same rounds."""


def entries_named(names: Sequence[str] | None, *, live: bool = False) -> list[Entry]:
    """The entries of some names, in the catalogue's order; the usual ones, or all that code live, where None.

    A name ``module:function`` is a contender of the user's own.

    Raises:
        BenchmarkError: There is no such contender.
    """
    if not names:
        return [entry for entry in ENTRIES if (entry.live if live else entry.usual)]
    known = {entry.name: entry for entry in ENTRIES}
    others = [name for name in dict.fromkeys(names) if name not in known]
    own = [Entry(name=name, factory=name) for name in others if _is_factory(name)]
    unknown = [name for name in others if not _is_factory(name)]
    if unknown:
        raise BenchmarkError(
            f"no contender is called {', '.join(unknown)}; there are: {', '.join(known)}, and module:function"
        )
    return [entry for entry in ENTRIES if entry.name in names] + own


def with_checkout(entries: Sequence[Entry], checkout: Path | None) -> list[Entry]:
    """The entries, of which AudioDec is told where its checkout is."""
    if checkout is None:
        return list(entries)
    options = {"checkout": str(checkout.resolve())}
    return [replace(each, options={**each.options, **options}) if each.name == "audiodec" else each for each in entries]


def _is_factory(name: str) -> bool:
    module, _, function = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), function))
