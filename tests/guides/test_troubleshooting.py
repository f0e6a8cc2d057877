"""Every message on the page about errors is one that the program really has."""

from __future__ import annotations

import ast
import re
from functools import cache

from documents import DOCS
from import_graph import modules

GAP = "…"


@cache
def texts() -> list[str]:
    """All texts in the sources, with a mark where a value stands."""
    found = []
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                found.append(template(node))
    return [text for text in found if len(text) > 8]


def template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(value) if isinstance(value, ast.Constant) else GAP for value in node.values)
    return ""


def is_said(message: str) -> bool:
    """Whether a text in the sources can become that message."""
    fixed = [part for part in message.split(GAP) if part.strip()]
    pattern = re.compile(".*".join(map(re.escape, fixed)), re.DOTALL)
    return any(pattern.search(text) for text in texts())


def quoted() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)


def test_every_message_of_the_page_exists() -> None:
    assert len(quoted()) > 45
    assert [message for message in quoted() if not is_said(message)] == []


def test_a_message_that_nobody_says_is_found() -> None:
    assert not is_said("the moon is made of … cheese")
    assert is_said("no NVIDIA driver is installed here (… does not load)")


def test_every_message_has_a_cause_or_a_cure() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    assert not re.search(r"^\| `[^`]+` \| *\|", page, re.MULTILINE)
