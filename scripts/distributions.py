"""Print the size of each distribution in a folder, and of what it brings; exit 1 if one holds what it should not.

    .venv/bin/python scripts/distributions.py dist

A wheel holds the packages alone. A source distribution holds what tests and scripts need as well. Neither holds a name
that starts with a dot, a compiled module, or a file over 20 MB.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

MOST_BYTES = 20_000_000
WHEEL_BYTES = 60_000_000
"""The most that a wheel may take: PyPI's limit is 100 MB."""


def files_of(distribution: Path) -> Mapping[str, int]:
    """The bytes of every file in a wheel or a source distribution, by name."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return {info.filename: info.file_size for info in wheel.infolist()}
    with tarfile.open(distribution) as source:
        return {info.name: info.size for info in source.getmembers() if info.isfile()}


def problems_of(distribution: Path) -> list[str]:
    """What is wrong with a distribution."""
    found = []
    for name, size in files_of(distribution).items():
        path = PurePosixPath(name)
        if any(part.startswith(".") for part in path.parts) and path.name != ".gitignore":
            found.append(f"{name} is hidden")
        if path.suffix in (".pyc", ".so", ".engine"):
            found.append(f"{name} is compiled")
        if size > MOST_BYTES:
            found.append(f"{name} has {size / 1e6:.1f} MB")
    if distribution.suffix == ".whl" and distribution.stat().st_size > WHEEL_BYTES:
        found.append(f"it has {distribution.stat().st_size / 1e6:.1f} MB")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    distributions = sorted(parser.parse_args().folder.iterdir())
    problems = {each.name: problems_of(each) for each in distributions}
    for each in distributions:
        held = files_of(each)
        sizes = f"{each.stat().st_size / 1e6:6.1f} MB, {sum(held.values()) / 1e6:6.1f} MB unpacked"
        print(f"{each.name:<44} {sizes}, {len(held)} files")
        for problem in problems[each.name]:
            print(f"  {problem}", file=sys.stderr)
    return int(not distributions or any(problems.values()))


if __name__ == "__main__":
    sys.exit(main())
