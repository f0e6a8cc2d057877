"""OpenVINO's compiled graphs, kept in the user's cache: to read one takes a fifth of the time that compiling it takes.

What a compiled graph is depends on the graph, the form it is rewritten to, the shapes and precision it is compiled for,
OpenVINO's version and the processor; all of it is in the file's name. Thread counts are not: they are given when it is
read. Several processes may use the cache at once: files appear whole, and one that is damaged is made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from apcodec_deploy.cache import cache_folder
from apcodec_deploy.errors import ApcodecError
from apcodec_deploy.files import is_partial, written_whole
from apcodec_deploy.version import __version__

KIND = "compiled"
"""The folder's name in the cache."""
MOST_BYTES = 1 << 30
"""What all files together may take; those that were not used for longest go first."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_DEVICE = "CPU"


def compiled(core: Any, make: Callable[[], Any], *, facts: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """A graph that is ready to run: from the cache where it was compiled before, else compiled and kept.

    Args:
        core: OpenVINO's ``Core``.
        make: Gives OpenVINO's model where it has to be compiled.
        facts: All that decides what the compiled graph is, as JSON takes it.
        config: OpenVINO's properties for compiling and reading.
    """
    file = _file(facts)
    held = _kept(file)
    if held is not None:
        try:
            return core.import_model(io.BytesIO(held), _DEVICE, dict(config))
        except Exception:  # whatever OpenVINO raises for what it cannot read: it is compiled as if it were not there
            with suppress(OSError):
                file.unlink()
    model = core.compile_model(make(), _DEVICE, dict(config))
    _keep(file, model)
    return model


def _file(facts: Mapping[str, Any]) -> Path:
    described = json.dumps({"apcodec-deploy": __version__, **facts}, sort_keys=True)
    return cache_folder(KIND) / f"{hashlib.sha256(described.encode()).hexdigest()[:32]}.blob"


def _kept(file: Path) -> bytes | None:
    """A compiled graph of an earlier run; None where there is none, or a damaged one.

    Its checksum stands in front: OpenVINO's reader trusts what it is given.
    """
    try:
        data = file.read_bytes()
        file.touch()
    except OSError:
        return None
    digest, held = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return held if hashlib.sha256(held).digest() == digest else None


def _keep(file: Path, model: Any) -> None:
    """Keep a compiled graph, if it can be exported and the cache can be written."""
    buffer = io.BytesIO()
    try:
        model.export_model(buffer)
    except Exception:  # whatever OpenVINO raises: it works without
        return
    held = buffer.getvalue()
    with suppress(ApcodecError, OSError), written_whole(file, overwrite=True) as temporary:
        temporary.write_bytes(hashlib.sha256(held).digest() + held)
    with suppress(OSError):
        _make_room(file.parent, spared=file)


def _make_room(folder: Path, *, spared: Path) -> None:
    """Remove what was not used for longest until the rest fits."""
    left = MOST_BYTES
    newest_first = sorted(
        ((path.stat(), path) for path in folder.iterdir() if not is_partial(path)),
        key=lambda pair: pair[0].st_mtime_ns,
        reverse=True,
    )
    for status, path in newest_first:
        left -= status.st_size
        if left < 0 and path != spared:
            path.unlink(missing_ok=True)
