"""Where engines are, and the checks that stand before any of them is used.

A set is a directory: ``engines.json`` and the files it names. The manifest is replaced last and at once, and files are
named by their content, so a reader finds the old set or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from apcodec_deploy.bundle import Bundle
from apcodec_deploy.cache import cache_folder
from apcodec_deploy.engines.manifest import MANIFEST, Engine, EngineSet, Identity, graph_differences
from apcodec_deploy.errors import BundleError, EngineError

CACHE_VARIABLE = "APCODEC_ENGINE_CACHE"
PRIVATE = 0o700
_MAX_MANIFEST = 1 << 20


def cache_root() -> Path:
    """The user's own directory of engines; ``APCODEC_ENGINE_CACHE`` names another."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else cache_folder("engines")


def sets_of(bundle: Bundle) -> Path:
    """The cached sets of a bundle, by its place: when new weights come there, their engines replace the old ones."""
    place = hashlib.sha256(os.fsencode(bundle.path.resolve())).hexdigest()[:8]
    return cache_root() / f"{_plain(bundle.name)}-{place}"


def slot(bundle: Bundle, identity: Identity) -> Path:
    """Where the cache keeps a set: one place for each thing that a user would want side by side."""
    words = [identity.flavour, identity.precision, identity.profile.name]
    words += ["parts"] if identity.parts else []
    words += [identity.target.gpu] if identity.target.gpu else []
    return sets_of(bundle) / "-".join(_plain(word) for word in words)


def graph_keys(bundle: Bundle, precision: str) -> dict[str, str]:
    """SHA-256 of the graphs that engines of a precision are built from, by file."""
    return dict(bundle.graph_key(name, precision) for name in bundle.spec.graphs)


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A set of engines on disk."""

    path: Path
    manifest: EngineSet

    @classmethod
    def open(cls, path: Path) -> StoredSet:
        """Read a set's manifest; the engines are read when they are needed.

        Raises:
            EngineError: There is none, or it is damaged.
        """
        file = path / MANIFEST
        try:
            if _size(file) > _MAX_MANIFEST:
                raise EngineError(f"{file} is no manifest: it is too large; build the engines again")
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise EngineError(f"{path} holds no engines ({error}); make them with: apcodec build") from error
        try:
            return cls(path, EngineSet.from_json(text))
        except EngineError as error:
            raise EngineError(f"{file}: {error}; build the engines again") from error

    def read(self, engine: Engine) -> bytes:
        """An engine, after its size and checksum were compared with the manifest.

        Raises:
            EngineError: It is missing, cut, edited, or where anybody may have put it.
        """
        check_private(self.path)
        file = self.path / engine.file
        try:
            # Looked at before it is read: what stands there may be endless, or keep a reader waiting.
            if (size := _size(file)) != engine.size:
                raise EngineError(f"{file} has {size} bytes, {MANIFEST} says {engine.size}; build the engines again")
            data = file.read_bytes()
        except OSError as error:
            raise EngineError(f"{file} cannot be read ({error.strerror}); build the engines again") from error
        if hashlib.sha256(data).hexdigest() != engine.sha256:
            raise EngineError(f"{file} is not the engine that was built: its checksum differs; build the engines again")
        return data

    def refusals(self, bundle: Bundle, *, flavour: str, version: str, gpu: str, compute_capability: str) -> list[str]:
        """Why these engines may not run here, in words; empty if they may."""
        identity = self.manifest.identity
        try:
            found = graph_differences(identity.graphs, graph_keys(bundle, identity.precision))
        except BundleError as error:
            found = [str(error)]
        if (identity.flavour, identity.version) != (flavour, version):
            found.append(f"built with {identity.flavour} {identity.version}, {flavour} {version} is here")
        if refusal := identity.target.refusal(gpu, compute_capability):
            found.append(refusal)
        return found


def stored_sets(bundle: Bundle) -> Iterator[StoredSet]:
    """The readable sets of a bundle in the cache, newest first."""
    found = []
    for manifest in sets_of(bundle).glob(f"*/{MANIFEST}"):
        try:
            found.append(StoredSet.open(manifest.parent))
        except EngineError:
            continue  # damaged: as good as none, and the next build replaces it
    yield from sorted(found, key=lambda each: each.manifest.built, reverse=True)


def check_private(path: Path) -> None:
    """Refuse a directory that everybody may write to: engines are native code.

    Raises:
        EngineError: It is one, or it cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}") from error
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise EngineError(f"everybody may write to {path}, and an engine is native code; chmod o-w it and build again")


def _size(file: Path) -> int:
    """Bytes of a regular file."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise EngineError(f"{file} is no regular file; remove it and build the engines again")
    return status.st_size


def _plain(text: str) -> str:
    """Text as a name that any file system takes."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("._")[:64] or "_"
