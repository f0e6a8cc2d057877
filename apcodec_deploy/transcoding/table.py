"""Tables of paths as programs write them: comma, semicolon or tab between cells, or an object of JSON a line.

A spreadsheet saves what its user's country takes for a table: with a byte order mark or without one, as UTF-8 or
UTF-16, with semicolons where the comma is the decimal mark, with lines of empty cells at the end, and what it calls
Unicode text as a ``.txt``. Names of columns are known in any letter case.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apcodec_deploy.errors import AudioError

COLUMNS = ("path", "start", "end", "name")
_DELIMITERS = {".csv": ",;\t", ".tsv": "\t", ".tab": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_SEPARATOR = re.compile(r'[\r\n]*"?sep=(.)"?[\r\n]+', re.IGNORECASE)
"""A first line by which a table tells Excel what stands between cells."""
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}(,[0-9]{3})+")


def text_of(path: str, data: bytes) -> str:
    """The text of a list, its names as ``naming.as_text`` writes them.

    Args:
        path: Of the list, for messages.
        data: UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        AudioError: It begins as UTF-16 and is none.
    """
    if (encoding := _utf16(data)) is None:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise AudioError(f"{path} begins as UTF-16 and is none ({error}); save it as UTF-8") from error


def _utf16(data: bytes) -> str | None:
    """Which UTF-16 a text is, by its mark or by the zero bytes of two letters; None where it is none."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [byte == 0 for byte in data[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        where: Its number and the list, for messages.
        cells: Its values by column, whose names are in lower case; as JSON has them, or as text.
        decimal_comma: Whether a comma in a number can only be a decimal mark.
        problem: Why it is no row.
    """

    where: str
    cells: dict[str, Any]
    decimal_comma: bool = False
    problem: str | None = None

    @property
    def found(self) -> str:
        """What was found and what is expected, for a row without a path."""
        named = ", ".join(self.cells) or "nothing"
        return f"it has {named}; columns are {', '.join(COLUMNS)}"

    def text(self, column: str) -> str:
        """A cell that is text; nothing where it is none."""
        value = self.cells.get(column)
        return value if isinstance(value, str) and value.strip() else ""

    def seconds(self, column: str) -> float | None:
        """A cell that is a number of seconds, with a point or a comma; None where it is empty.

        Raises:
            AudioError: A comma could be a decimal mark or stand between thousands.
            ValueError: It is no number.
            TypeError: It is something else than a number or text.
        """
        value = self.cells.get(column)
        if isinstance(value, str):
            value = value.strip()
            if not self.decimal_comma and _THOUSANDS.fullmatch(value):
                raise AudioError(
                    f"{column} {value} can be {value.replace(',', '.', 1)} or {value.replace(',', '')}; write it with "
                    "a point or without a comma"
                )
            if value.count(",") == 1 and "." not in value:
                value = value.replace(",", ".")
        return None if value is None or value == "" else float(value)


@dataclass(frozen=True, slots=True)
class Table:
    """A list that is a table.

    Attributes:
        path: Of the list, for messages.
        text: All of it.
        delimiter: Between cells; None where each line is an object of JSON.
    """

    path: str
    text: str
    delimiter: str | None

    @classmethod
    def of(cls, path: str, text: str) -> Table | None:
        """What a list is by its name, or by a first line that names the column ``path``; None for plain lines.

        Raises:
            AudioError: A table by its name names no such column.
        """
        kind = os.path.splitext(path)[1].lower()
        if kind in _JSON_LINES:
            return cls(path, text, None)
        if stated := _SEPARATOR.match(text):
            text = text[stated.end() :]
        delimiters = stated[1] if stated else _DELIMITERS.get(kind, ",;\t")
        first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
        headers = {each: _cells(first, each) for each in delimiters}
        known = {each: header for each, header in headers.items() if "path" in header}
        if known:
            return cls(path, text, max(known, key=lambda each: len(known[each])))
        if (stated or kind in _DELIMITERS) and text.strip():
            named = ", ".join(repr(cell) for cell in max(headers.values(), key=len))
            raise AudioError(
                f"{path} names no path: its first line has {named}; expected are the column path and, where wanted, "
                f"{', '.join(COLUMNS[1:])}"
            )
        return None

    def rows(self) -> Iterator[Row]:
        """Its rows, numbered from 1; those whose cells are all empty do not count as rows.

        Raises:
            AudioError: A column is named twice.
        """
        yield from self._objects() if self.delimiter is None else self._records(self.delimiter)

    def _objects(self) -> Iterator[Row]:
        for number, line in enumerate(filter(str.strip, re.split(r"[\r\n]+", self.text)), 1):
            where = f"row {number} of {self.path}"
            try:
                values = json.loads(line)
            except ValueError as error:
                yield Row(where, {}, problem=f"{where} names no path: it is no JSON ({error})")
                continue
            if not isinstance(values, dict):
                yield Row(where, {}, problem=f"{where} names no path: it is no object of JSON")
                continue
            yield Row(where, {str(name).strip().casefold(): value for name, value in values.items()})

    def _records(self, delimiter: str) -> Iterator[Row]:
        reader = csv.reader(io.StringIO(self.text, newline=""), delimiter=delimiter)
        number, header = 0, list[str]()
        try:
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if not header:
                    header = [cell.strip().casefold() for cell in cells]
                    if twice := [name for name in header if name and header.count(name) > 1]:
                        raise AudioError(f"{self.path} names the column {twice[0]} twice")
                    continue
                number += 1
                yield self._row(number, header, cells, delimiter)
        except csv.Error as error:
            raise AudioError(f"{self.path}, line {reader.line_num}: {error}") from error

    def _row(self, number: int, header: list[str], cells: list[str], delimiter: str) -> Row:
        where = f"row {number} of {self.path}"
        named = len([name for name in header if name])
        if len(header) == 1:  # what stands between cells is not known, and a path may hold it
            cells = [delimiter.join(cells)]
        problem = None
        if any(cell.strip() for cell in cells[len(header) :]):
            problem = (
                f"{where} has {len(cells)} cells, its header {named}; a path that holds {delimiter!r} needs quotes"
            )
        return Row(where, dict(zip(header, cells, strict=False)), delimiter == ";", problem)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip().casefold() for cell in next(csv.reader([line], delimiter=delimiter), [])]
