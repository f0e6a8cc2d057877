"""APCodec as a plain ONNX export of the published network gives it: the baseline of our own graphs."""

from __future__ import annotations

from dataclasses import replace

from apcodec_benchmarks.contenders.apcodec import ApcodecContender
from apcodec_benchmarks.contenders.base import Settings
from apcodec_deploy.errors import ContenderError


class PlainContender(ApcodecContender):
    """A ``Codec`` on graphs that nobody has folded; all else is as for our own. ``models.plain_export`` makes them."""

    def __init__(self, settings: Settings) -> None:
        """Load the graphs.

        Args:
            settings: Of its options, ``bundle`` is where the graphs are, ``problem`` why there are none, ``window`` as
                for a ``Codec``.

        Raises:
            ContenderError: There are no graphs, or something else than a CPU and float32 is asked for.
        """
        _check(settings)
        options = settings.options
        if "bundle" not in options:
            raise ContenderError(str(options.get("problem", "nobody has exported its graphs; 'apcodec bench' does")))
        super().__init__(replace(settings, model=str(options["bundle"])))

    @property
    def _kind(self) -> str:
        return "plain ONNX export"


def _check(settings: Settings) -> None:
    """Refuse what it is no baseline for, and what it cannot be made from.

    Raises:
        ContenderError: Why it cannot run.
    """
    if settings.device != "cpu":
        raise ContenderError(f"the plain export is timed on the CPU, not on {settings.device}; leave out --device")
    if settings.precision != "float32":
        raise ContenderError(f"the plain export is in float32, not {settings.precision}; leave out --precision")
    if settings.checkpoint is None:
        raise ContenderError("the plain export needs what the bundle was made from: --checkpoint CHECKPOINT_DIR")


def plain(settings: Settings) -> PlainContender:
    """The plain ONNX export of a checkpoint; options ``bundle``, ``problem`` and ``window``."""
    return PlainContender(settings)
