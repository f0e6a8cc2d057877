"""The lowest versions that pyproject.toml admits, one requirement a line: ``floors.py [EXTRA ...]``.

Of the runtime without an extra, of the extra's own with one. What this machine does not need is left out.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def floor(line: str) -> Requirement:
    """A requirement of exactly the lowest version that another admits.

    Raises:
        ValueError: It has no lower bound.
    """
    requirement = Requirement(line)
    lowest = [each.version for each in requirement.specifier if each.operator in (">=", "==")]
    if len(lowest) != 1:
        raise ValueError(f"{line!r} must name one lowest version")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return Requirement(f"{requirement.name}{extras}=={lowest[0]}")


def floors(lines: list[str]) -> list[str]:
    """The floors of what a list requires here; other extras of the project itself are left to their own lists."""
    here = [line for line in map(Requirement, lines) if line.marker is None or line.marker.evaluate()]
    return [str(floor(str(line))) for line in here if line.name != "apcodec-deploy"]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["optional-dependencies"][extra] for extra in sys.argv[1:]] or [project["dependencies"]]
    print("\n".join(line for lines in lists for line in floors(lines)))


if __name__ == "__main__":
    main()
