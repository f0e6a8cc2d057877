"""What people read, cut into the blocks that a test can run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from import_graph import ROOT

DOCS = ROOT / "docs"
GUIDES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
"""Pages whose commands are run, or marked."""
ELSEWHERE = (
    *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "benchmarks/NOTES.md", "training/demo/README.md")),
    *sorted(path for path in ROOT.glob("*/README.md") if path.parts[-2] not in (".venv", "build")),
    *sorted((DOCS / "decisions").glob("*.md")),
)
"""Other pages, whose links and options hold, too."""
_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code on a page.

    Attributes:
        language: What stands behind its fence.
        text: What is in it.
        not_run: Why no test runs it, if none does.
    """

    language: str
    text: str
    not_run: str | None

    def commands(self) -> Iterator[list[str]]:
        """The words of every command of a shell block, pipes and lists taken apart."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            command: list[str] = []
            for word in [*words, "&&"]:
                if word in ("&&", "|", ";", ">"):
                    if command:
                        yield command
                    command = []
                else:
                    command.append(word)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that name a language."""
    text = page.read_text(encoding="utf-8")
    return [Block(found["language"], found["text"], found["reason"]) for found in _BLOCK.finditer(text)]


def name_of(page: Path) -> str:
    """A page's name in the repository."""
    return page.relative_to(ROOT).as_posix()
