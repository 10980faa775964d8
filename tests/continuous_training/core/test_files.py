"""Writes that are whole or not there, and digests of content."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.core.digest import digest_of, digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, plain, to_json, write_text


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a/b", "mark") as folder:
        (folder / "mark").write_text("1")
        assert not (tmp_path / "a/b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    # An artifact is read by other containers, under other users.
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755


def test_an_older_one_is_replaced_whole_or_left(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with new_folder(tmp_path / "a", "mark") as folder:
            (folder / "mark").touch()
            (folder / name).touch()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["mark", "two"]

    def interrupted() -> None:
        with new_folder(tmp_path / "a", "mark") as folder:
            (folder / "mark").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["mark", "two"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_and_a_folder_of_other_things_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/thesis").touch()
    for name in ("file", "folder", "."):
        with pytest.raises(UserError, match="contains no mark"):
            new_folder(tmp_path / name, "mark").__enter__()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_working_folder_can_be_named_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with new_folder(Path(), "mark") as folder:
        (folder / "mark").touch()
    assert (tmp_path / "out/mark").is_file()


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    for text in ("one", "two, 서울"):
        write_text(tmp_path / "a/b.json", text)
        assert (tmp_path / "a/b.json").read_text(encoding="utf-8") == text
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_json_and_digests_know_no_order_and_refuse_nan() -> None:
    assert to_json({"b": 1, "a": [2, "é"]}) == to_json({"a": [2, "é"], "b": 1})
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1}) != digest_of({"a": 2, "b": 2})
    with pytest.raises(ValueError, match="Out of range float"):
        to_json(float("nan"))
    nested = {"a": [float("nan"), (1.5, float("-inf"))], "b": True}
    assert plain(nested) == {"a": [None, [1.5, None]], "b": True}


def test_a_folders_digest_is_its_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c.py").write_text("1")
    first = digest_of_folder(tmp_path)
    (tmp_path / "a/__pycache__").mkdir()
    (tmp_path / "a/__pycache__/c.pyc").write_text("x")
    assert digest_of_folder(tmp_path) == first
    (tmp_path / "a/d.txt").write_text("x")
    assert digest_of_folder(tmp_path) != first
    assert digest_of_folder(tmp_path, "**/*.py") == first
    (tmp_path / "a/b/c.py").rename(tmp_path / "a/c.py")
    assert digest_of_folder(tmp_path, "**/*.py") != first
