"""The two TensorRT packages, which share one Python interface and differ in what they can be asked for.

TensorRT tunes an engine on the GPU that will run it. TensorRT-RTX compiles ahead of time for several generations of
GPUs, on any machine, and finishes the job on the GPU at load.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from apcodec_deploy.errors import BackendError, EngineError, MissingDependencyError, require

AUTO = "auto"
_LIBRARY = re.compile(r"((?:lib)?nv(?:infer|onnxparser)[\w.]*): cannot open shared object file")
_log = logging.getLogger(__name__)
_loggers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One of the packages.

    Attributes:
        name: What the user calls it; also the extra that installs it.
        title: Its product name.
        module: Its import name.
        oldest: The first version with everything that engines and runtime here need.
    """

    name: str
    title: str
    module: str
    oldest: tuple[int, int]

    @property
    def installed(self) -> bool:
        """Whether it could be imported, without doing so."""
        try:
            return importlib.util.find_spec(self.module) is not None
        except ImportError:  # a finder may refuse by raising
            return False

    def load(self) -> TensorRT:
        """Import it.

        Raises:
            MissingDependencyError: It is not installed, or one of its libraries is missing.
            EngineError: It is too old.
        """
        try:
            found = TensorRT(self, require(self.module, extra=self.name))
        except MissingDependencyError as error:
            if not (library := _LIBRARY.search(str(error))):
                raise
            raise MissingDependencyError(
                f"{self.title} has Python bindings and no libraries: {library[1]} is not found. Install it whole: pip "
                f"install 'apcodec-deploy[{self.name}]'. Or name the folder of its libraries in LD_LIBRARY_PATH"
            ) from error
        if tuple(int(part) for part in found.version.split(".")[:2]) < self.oldest:
            needed = ".".join(map(str, self.oldest))
            raise EngineError(
                f"{found.title} is too old, {needed} is needed; pip install --upgrade 'apcodec-deploy[{self.name}]'"
            )
        return found


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour(name="tensorrt", title="TensorRT", module="tensorrt", oldest=(10, 6)),
        Flavour(name="rtx", title="TensorRT-RTX", module="tensorrt_rtx", oldest=(1, 7)),
    )
}


def flavour_named(name: str) -> Flavour:
    """A flavour by its name.

    Raises:
        EngineError: There is none of that name.
    """
    if name not in FLAVOURS:
        raise EngineError(f"no TensorRT flavour is called {name!r}; there are: {AUTO}, {', '.join(FLAVOURS)}")
    return FLAVOURS[name]


@dataclass(frozen=True, slots=True)
class TensorRT:
    """An imported flavour.

    Attributes:
        flavour: Which one.
        trt: The module.
    """

    flavour: Flavour
    trt: Any

    @property
    def version(self) -> str:
        """Its full version, the only one that can read the engines it built."""
        return str(self.trt.__version__)

    @property
    def title(self) -> str:
        """Product name and version."""
        return f"{self.flavour.title} {self.version}"

    @property
    def ahead_of_time(self) -> bool:
        """Whether engines are compiled for generations of GPUs instead of for the one at hand."""
        return hasattr(self.trt, "ComputeCapability")

    @property
    def records_graphs(self) -> bool:
        """Whether it records CUDA graphs by itself, so that we must not."""
        return hasattr(self.trt, "CudaGraphStrategy")

    @property
    def logger(self) -> Any:
        """The one logger of this process; TensorRT ignores all but the first. ``last`` holds its last error."""
        return _logger(self.trt)

    @property
    def why(self) -> str:
        """What TensorRT last complained of, in the call at hand."""
        return self.logger.last or "it gave no reason"

    @contextmanager
    def calls(self, what: str) -> Iterator[None]:
        """Call TensorRT: what its bindings raise, which share no base, becomes ours.

        Args:
            what: What is asked of it, for the message.

        Raises:
            BackendError: The bindings raised.
        """
        self.logger.last = ""
        try:
            yield
        except (TypeError, RuntimeError, ValueError) as error:
            reasons = "; ".join(each for each in (str(error), self.logger.last) if each)
            raise BackendError(f"{self.title} did not {what}: {reasons}") from error

    def runtime(self) -> Any:
        """A new runtime, which loads engines.

        Raises:
            BackendError: TensorRT does not work here; a driver that is too old for it, mostly.
        """
        with self.calls("start"):
            return self.trt.Runtime(self.logger)


def _logger(trt: Any) -> Any:
    """The logger for a module, made at the first call and kept as long as the module is."""
    if trt not in _loggers:
        _loggers[trt] = _new_logger(trt.ILogger)
    return _loggers[trt]


def _new_logger(base: Any) -> Any:
    class Logger(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.last = ""

        def log(self, severity: Any, message: str) -> None:
            if severity <= base.Severity.ERROR:
                self.last = message
                _log.error("%s", message)
            elif severity <= base.Severity.WARNING:
                _log.warning("%s", message)

    return Logger()
