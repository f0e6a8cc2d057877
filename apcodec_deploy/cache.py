"""The user's own cache: what can be made again, kept because making it takes long."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

VARIABLE = "APCODEC_CACHE"


def cache_folder(kind: str) -> Path:
    """The folder for one kind of things, which may not exist yet; ``APCODEC_CACHE`` names another place for all."""
    named = os.environ.get(VARIABLE)
    root = Path(named) if named else platformdirs.user_cache_path("apcodec-deploy", appauthor=False)
    return root / kind
