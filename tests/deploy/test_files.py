"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apcodec_deploy.errors import AudioError, OutputError
from apcodec_deploy.files import folder_written_whole, open_input, partially_written, unfinished, written_whole


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_appears_when_it_is_whole(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "new" / "folder" / "a.bin"
    with written_whole(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(b"half")
        assert not target.exists()
        assert temporary.parent == target.parent
        with temporary.open("ab") as file:
            file.write(b" and half")
    assert contents(tmp_path) == {"new/folder/a.bin": b"half and half"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("before", [{}, {"a.bin": b"old"}])
def test_an_error_leaves_everything_as_it_was(
    tmp_path: Path, error: type[BaseException], before: dict[str, bytes]
) -> None:
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(error), written_whole(tmp_path / "a.bin", overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert contents(tmp_path) == before


def test_an_error_before_the_first_byte_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), written_whole(tmp_path / "a.bin", overwrite=True):
        raise ValueError("early")
    assert contents(tmp_path) == {}


def test_a_target_is_replaced_only_if_that_is_allowed(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with (
        pytest.raises(OutputError, match=r"a\.bin exists; --overwrite replaces it"),
        written_whole(target, overwrite=False),
    ):
        pytest.fail("the block must not run")
    assert contents(tmp_path) == {"a.bin": b"old"}
    with written_whole(target, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert contents(tmp_path) == {"a.bin": b"new"}


def test_another_name_of_a_replaced_file_keeps_what_it_had(tmp_path: Path) -> None:
    """The new file takes the place of the old one, and is never copied over it."""
    target, other = tmp_path / "a.bin", tmp_path / "b.bin"
    target.write_bytes(b"old")
    other.hardlink_to(target)
    with written_whole(target, overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert contents(tmp_path) == {"a.bin": b"new", "b.bin": b"old"}


def test_a_dangling_link_counts_as_existing(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.symlink_to("nowhere")
    with pytest.raises(OutputError, match="exists"), written_whole(target, overwrite=False):
        pytest.fail("the block must not run")


def test_a_file_that_was_never_written_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"a\.bin cannot be written"),
        written_whole(tmp_path / "a.bin", overwrite=True),
    ):
        pass
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("name", ["n" * 251 + ".bin", "ü" * 125 + ".bin"])
def test_the_longest_names_work(tmp_path: Path, name: str) -> None:
    assert len(os.fsencode(name)) in (254, 255)
    with written_whole(tmp_path / name, overwrite=False) as temporary:
        temporary.write_bytes(b"data")
    assert contents(tmp_path) == {name: b"data"}


def test_a_name_that_is_too_long_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="cannot be written"),
        written_whole(tmp_path / ("n" * 256), overwrite=False) as temporary,
    ):
        temporary.write_bytes(b"data")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("below", ["a.bin", "folder/a.bin"])
def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    target = tmp_path / "file" / below
    with pytest.raises(OutputError, match=r"a\.bin cannot be written"), written_whole(target, overwrite=True):
        pytest.fail("the block must not run")
    assert contents(tmp_path) == {"file": b"no folder"}


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.bin").write_bytes(b"data")
    with (
        pytest.raises(OutputError, match="folder is no regular file"),
        written_whole(tmp_path / "folder", overwrite=True) as temporary,
    ):
        temporary.write_bytes(b"new")
    assert contents(tmp_path) == {"folder/a.bin": b"data"}


def test_the_current_folder_is_no_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError), written_whole(Path(), overwrite=True) as temporary:
        temporary.write_bytes(b"new")
    assert contents(tmp_path) == {}


def test_two_writers_of_one_target_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with written_whole(target, overwrite=True) as first:
        first.write_bytes(b"first")
        with written_whole(target, overwrite=True) as second:
            assert second != first
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"
    assert contents(tmp_path) == {"a.bin": b"first"}


def test_an_input_is_opened_for_reading(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"data")
    with open_input(tmp_path / "a.bin") as file:
        assert file.read() == b"data"


@pytest.mark.parametrize("name", ["missing", "folder", "file/below"])
def test_an_input_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AudioError, match=f"{name} (cannot be read: |is no regular file)"):
        open_input(tmp_path / name)


def test_what_is_being_written_is_known(tmp_path: Path) -> None:
    before = unfinished()
    with written_whole(tmp_path / "a", overwrite=False) as temporary:
        assert unfinished() == before, "nothing is there yet"
        temporary.touch()
        assert set(unfinished()) - set(before) == {temporary}
    with pytest.raises(KeyboardInterrupt), partially_written(tmp_path / "b") as temporary:
        temporary.touch()
        assert set(unfinished()) - set(before) == {temporary}
        raise KeyboardInterrupt
    assert unfinished() == before


def test_a_folder_appears_whole_and_takes_the_place_of_another(tmp_path: Path) -> None:
    target = tmp_path / "below" / "folder"
    for text in ("first", "second"):
        with folder_written_whole(target) as folder:
            (folder / "file").write_text(text)
        assert (target / "file").read_text() == text
    with pytest.raises(ZeroDivisionError), folder_written_whole(target) as folder:
        (folder / "file").write_text("third")
        raise ZeroDivisionError
    assert (target / "file").read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_a_folder_that_cannot_be_written_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), folder_written_whole(tmp_path / "file" / "folder"):
        pass
