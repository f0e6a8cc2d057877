"""Bundle to engines: find a set that will do, else compile one, check it on the GPU, and put it in place at once."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import filelock

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cuda.device import Gpu
from apcodec_deploy.cuda.opening import open_device
from apcodec_deploy.engines.flavour import TensorRT
from apcodec_deploy.engines.manifest import FUSED, MANIFEST, Engine, EngineSet, Identity
from apcodec_deploy.engines.store import PRIVATE, StoredSet, cache_root
from apcodec_deploy.errors import EngineError, OutputError
from apcodec_deploy.families import GRAPHS
from apcodec_deploy.precision import FLOAT32
from apcodec_engines.networks import Network, networks
from apcodec_engines.planning import BuildOptions, choose_flavour, gpu_at_hand, place, staleness, wanted_identity
from apcodec_engines.subprocesses import Compiler

_WORK = ".apcodec-build-"
_ENGINE = re.compile(f"({'|'.join((*FUSED, *GRAPHS))})-[0-9a-f]{{12}}\\.engine")
"""How the engines of a set are called: nothing else in its folder is ours to remove."""
Report = Callable[[str, float], None]
"""Told what is being done, and which share of it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What became of a build.

    Attributes:
        stored: The set.
        reasons: Why it was built; empty if it was up to date.
    """

    stored: StoredSet
    reasons: tuple[str, ...]

    @property
    def up_to_date(self) -> bool:
        """Whether there was nothing to do."""
        return not self.reasons


def build_engines(
    bundle: Bundle,
    options: BuildOptions,
    *,
    report: Report = lambda what, share: None,
    say: Callable[[str], None] = lambda line: None,
) -> Built:
    """Make sure that a bundle's engines are there.

    Two processes that build the same set take turns, and the second finds it up to date.

    Args:
        bundle: The model.
        options: What to build.
        report: Progress of what takes long.
        say: Told what the user should know: why a set is stale, what a check found.

    Raises:
        EngineError: An option is none, or what is installed cannot build it.
        BuildError: TensorRT failed.
        OutputError: The engines cannot be written.
    """
    gpu, without = gpu_at_hand(options.device)
    tensorrt = choose_flavour(options.flavour, gpu, without).load()
    identity = wanted_identity(bundle, options, tensorrt, gpu)
    path = place(bundle, options, identity)
    with _locked(path, say):
        _clear(path)
        reasons = ("a build was asked for",) if options.force else staleness(path, identity, gpu)
        if not reasons:
            return Built(stored=StoredSet.open(path), reasons=())
        for reason in reasons:
            say(f"{path}: {reason}; building")
        stored = _Build(bundle, identity, tensorrt, gpu, without, path, report, say).run()
        return Built(stored=stored, reasons=reasons)


@contextmanager
def _locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a set for ourselves; another build of it is waited for."""
    lock = filelock.FileLock(path / ".lock")
    try:
        (path / ".lock").touch()  # where that fails, waiting would be for ever
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            say(f"{path}: another build is under way; waiting for it")
            lock.acquire()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class _Build:
    """One build, in a directory beside the set that it is to replace."""

    bundle: Bundle
    identity: Identity
    tensorrt: TensorRT
    gpu: Gpu | None
    without: str
    path: Path
    report: Report
    say: Callable[[str], None]

    def run(self) -> StoredSet:
        """Compile, check, and put into place."""
        try:
            with tempfile.TemporaryDirectory(prefix=_WORK, dir=self.path) as work:
                draft = StoredSet(Path(work), self._compiled(Path(work)))
                (draft.path / MANIFEST).write_text(draft.manifest.to_json(), encoding="utf-8")
                return self._publish(self._checked(draft))
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def _compiled(self, work: Path) -> EngineSet:
        engines = [
            self._compile(each, work)
            for each in networks(self.bundle, self.identity.precision, parts=self.identity.parts)
        ]
        return EngineSet(
            identity=self.identity,
            bundle=self.bundle.name,
            fingerprint=self.bundle.fingerprint,
            engines=tuple(engines),
            driver=self.gpu.driver if self.gpu else None,
            built=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _compile(self, each: Network, work: Path) -> Engine:
        device = self.gpu.index if self.gpu and not self.tensorrt.ahead_of_time else None
        compiler = Compiler(self.tensorrt.flavour, self.identity, self.bundle.spec, work, self._timings(), device)
        result = compiler.run(each, lambda share: self.report(f"building {each.name} in {each.precision}", share))
        data = (work / "engine").read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        file = f"{each.name}-{digest[:12]}.engine"
        (work / "engine").rename(work / file)
        return Engine(
            name=each.name,
            file=file,
            size=len(data),
            sha256=digest,
            precision=each.precision,
            bindings=each.bindings,
            audit=result["audit"],
            build_seconds=result["seconds"],
        )

    def _timings(self) -> Path | None:
        """Where TensorRT keeps what it measured on this kind of GPU."""
        if self.tensorrt.ahead_of_time or self.gpu is None:
            return None
        with suppress(OSError):
            cache_root().mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        label = hashlib.sha256(f"{self.tensorrt.version} {self.gpu.name}".encode()).hexdigest()[:16]
        return cache_root() / f"timings-{label}.cache"

    def _checked(self, draft: StoredSet) -> StoredSet:
        """Run the engines beside ONNX Runtime where there is a GPU for them; what fails in half precision is replaced.

        Raises:
            BuildError: Engines fail their check in float32.
        """
        why = self.without
        if self.gpu is not None:
            why = self.identity.target.refusal(self.gpu.name, self.gpu.compute_capability) or ""
        if why or self.gpu is None:
            note = f"the engines were not run here: {why}"
            return replace(draft, manifest=replace(draft.manifest, notes=(*draft.manifest.notes, note)))
        from apcodec_engines.acceptance import accept

        return accept(
            draft, self.bundle, self.tensorrt, open_device(self.gpu.index), rebuild=self._in_float32, say=self.say
        )

    def _in_float32(self, engine: Engine, draft: StoredSet) -> Engine:
        """The same engine from the float32 graphs."""
        found = {each.name: each for each in networks(self.bundle, FLOAT32, parts=self.identity.parts)}
        return self._compile(found[engine.name], draft.path)

    def _publish(self, draft: StoredSet) -> StoredSet:
        """Move the engines into place, then the manifest over the old one, then remove what nothing names any more."""
        fresh_files = {engine.file for engine in draft.manifest.engines}
        # Who has opened the old set may still read its engines: they go with the next build.
        kept = fresh_files | _named(self.path)
        for file in fresh_files:
            (draft.path / file).replace(self.path / file)
        fresh = draft.path / MANIFEST
        fresh.write_text(draft.manifest.to_json(), encoding="utf-8")
        fresh.replace(self.path / MANIFEST)
        for old in self.path.iterdir():
            if _ENGINE.fullmatch(old.name) and old.name not in kept:
                with suppress(OSError):  # the new set is in place already
                    old.unlink()
        return StoredSet.open(self.path)


def _named(path: Path) -> set[str]:
    """The files of the set that is in a place."""
    try:
        return {engine.file for engine in StoredSet.open(path).manifest.engines}
    except EngineError:
        return set()


def _clear(path: Path) -> None:
    """Remove what builds that were killed have left; we hold the lock, so none of them goes on."""
    for left in path.glob(f"{_WORK}*"):
        shutil.rmtree(left, ignore_errors=True)
