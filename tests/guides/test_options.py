"""Every command that a page names exists, with all of its options and arguments; every extra and every link, too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from documents import ELSEWHERE, GUIDES, ROOT, blocks, name_of
from import_graph import PACKAGES

from apcodec_deploy.cli.main import app

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
COMMAND = re.compile(r"`(apcodec [^`]+)`")


def problem(words: list[str]) -> str:
    """What is wrong with the arguments of ``apcodec``; empty where nothing is."""
    command: Any = typer.main.get_command(app)
    name, rest = "apcodec", words
    while hasattr(command, "get_command"):
        if rest[:1] == ["--help"] or not rest:
            return ""
        if (inner := command.get_command(command.make_context(name, [], resilient_parsing=True), rest[0])) is None:
            return f"there is no command {rest[0]}"
        command, name, rest = inner, rest[0], rest[1:]
    try:
        command.make_context(name, list(rest), resilient_parsing="--help" in rest)
    except Exception as error:  # the parser is typer's own copy of click
        return str(getattr(error, "message", error)) or repr(error)
    return ""


def test_wrong_commands_are_found() -> None:
    assert problem(["frobnicate"])
    assert problem(["encode", "a.wav", "--frobnicate"])
    assert problem(["transcode", "only-one"])
    assert problem(["bench", "rtf", "--fast"])
    assert not problem(["bench", "rtf", "--quick"])
    assert not problem(["encode", "--help"])


@pytest.mark.parametrize("page", (*GUIDES, *ELSEWHERE), ids=name_of)
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    problems = [
        f"{' '.join(words)}: {found}"
        for block in blocks(page)
        if block.language == "sh"
        for words in block.commands()
        if words[0] == "apcodec" and (found := problem(words[1:]))
    ]
    assert problems == []
    for extras in re.findall(r"apcodec-deploy\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(EXTRAS), extras
    if page.name != "CHANGELOG.md":  # which may name what is gone
        for command in COMMAND.findall(text):
            for option in re.findall(r"(?<!\S)--[a-z][\w-]*", command):
                assert option in all_options(command.split()[1:]), command


def all_options(words: list[str]) -> set[str]:
    """The options of the command that some words begin with."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        command = command.get_command(command.make_context("apcodec", [], resilient_parsing=True), words[0])
        words = words[1:]
    assert command is not None, words
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


@pytest.mark.parametrize("page", (*GUIDES, *ELSEWHERE), ids=name_of)
def test_every_link_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith(("http://", "https://", "#")):
            path, _, anchor = link.partition("#")
            target = page.parent / path
            assert target.exists(), f"{name_of(page)}: {link}"
            if anchor:
                assert anchor in anchors(target), f"{name_of(page)}: {link}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", (*GUIDES, *ELSEWHERE), ids=name_of)
def test_every_file_of_the_project_that_a_page_names_is_there(page: Path) -> None:
    places = (ROOT, page.parent, *PACKAGES.values())
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|toml|txt)|(?:scripts|tests|benchmarks|docs)/[\w/-]+)`", text))
    assert [path for path in sorted(named) if not any((place / path).exists() for place in places)] == []


@pytest.mark.parametrize("page", GUIDES[1:], ids=name_of)
def test_no_line_of_code_is_wider_than_the_pages(page: Path) -> None:
    assert [line for block in blocks(page) for line in block.text.splitlines() if len(line) > 92] == []


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) > 110] == []
