"""The drawings of ARCHITECTURE.md hold: every room is in one, and imports only what is drawn below it."""

from __future__ import annotations

import re

import pytest
from import_graph import PACKAGES, ROOT, import_graph, modules


def drawn(package: str) -> list[set[str]]:
    """The rooms of a package, line by line from the top: what stands before three spaces."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- rooms {package} -->\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None, f"ARCHITECTURE.md has no drawing of {package}"
    return [set(re.split(" {3,}", line)[0].split()) for line in found[1].splitlines()]


def rooms(package: str) -> set[str]:
    """The modules and sub-packages right below a package."""
    return {name.split(".")[1] for name in modules() if name.startswith(f"{package}.")}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_drawn_once(package: str) -> None:
    lines = drawn(package)
    assert sum(map(len, lines)) == len(set().union(*lines))
    assert set().union(*lines) == rooms(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_imports_only_what_is_drawn_below_it(package: str) -> None:
    floor = {room: number for number, line in enumerate(drawn(package)) for room in line}
    for name, imported in import_graph().items():
        for other in imported:
            if name.startswith(f"{package}.") and other.startswith(f"{package}."):
                above, below = name.split(".")[1], other.split(".")[1]
                assert above == below or floor[above] < floor[below], f"{name} imports {other}"
