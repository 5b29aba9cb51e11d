"""pbxd's part in Asterisk's configuration: added once, backed up, taken out again without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbxd.asterisk import install, snippets
from pbxd.calls.cel import COLUMNS
from pbxd.errors import SnippetError

PLAIN = {
    "asterisk.conf": "[directories]\n",
    "cel.conf": "[general]\nenable=no\napps=dial,park\n\n[manager]\nenabled = no\n",
    "manager.conf": "[general]\nenabled = yes",
    "cel_custom.conf": "; only comments\n;[mappings]\n",
}
FREEPBX = {
    "asterisk.conf": "[directories]\n",
    "cel.conf": "[general]\n#include cel_general_additional.conf\n#include cel_general_custom.conf\n",
    "cel_general_custom.conf": "",
    "manager.conf": "[general]\nenabled = yes\n#include manager_additional.conf\n#include manager_custom.conf\n",
    "manager_custom.conf": "[mine]\nsecret=x\n",
}


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("files", [PLAIN, FREEPBX, {"asterisk.conf": ""}])
def test_added_once_and_removed_without_a_trace(tmp_path: Path, files: dict[str, str]) -> None:
    etc = lay(tmp_path, files)
    install.apply(install.plan(etc, "s3cret"), tmp_path / "backup")
    assert install.plan(etc, "s3cret") == []
    for name, text in files.items():
        assert texts(etc)[name].startswith(text)
    install.apply(install.removal(etc), tmp_path / "backup2")
    left = texts(etc)
    assert {name: text for name, text in left.items() if text} == {
        name: text + tail(text) for name, text in files.items() if text
    }


def tail(text: str) -> str:
    """A last line without a line break gets one, and keeps it."""
    return "\n" if text and not text.endswith("\n") else ""


def test_sections_are_added_to_where_they_are(tmp_path: Path) -> None:
    etc = lay(tmp_path, PLAIN)
    install.apply(install.plan(etc, "x"), tmp_path / "backup")
    assert "[general](+)" in (etc / "pbxd_cel.conf").read_text()
    assert "\n[mappings]\n" in (etc / "pbxd_cel_custom.conf").read_text()
    assert (tmp_path / "backup" / "cel.conf").read_text() == PLAIN["cel.conf"]


def test_beside_freepbx_only_custom_files_are_touched(tmp_path: Path) -> None:
    etc = lay(tmp_path, FREEPBX)
    install.apply(install.plan(etc, "x"), tmp_path / "backup")
    assert (etc / "cel.conf").read_text() == FREEPBX["cel.conf"]
    assert (etc / "manager.conf").read_text() == FREEPBX["manager.conf"]
    assert "#include pbxd_cel.conf" in (etc / "cel_general_custom.conf").read_text()
    assert "[general]" not in (etc / "pbxd_cel.conf").read_text()


def test_owner_and_mode_are_kept(tmp_path: Path) -> None:
    etc = lay(tmp_path, PLAIN)
    (etc / "cel.conf").chmod(0o604)
    install.apply(install.plan(etc, "x"), tmp_path / "backup")
    assert (etc / "cel.conf").stat().st_mode & 0o777 == 0o604
    assert (etc / "pbxd_manager.conf").stat().st_mode & 0o777 == 0o640


def test_the_difference_is_shown_without_the_secret(tmp_path: Path) -> None:
    etc = lay(tmp_path, PLAIN)
    said: list[str] = []
    changes = install.plan(etc, "s3cret")
    assert not install.run(etc, changes, tmp_path / "b", write=False, confirm=lambda: True, say=said.append)
    assert texts(etc) == PLAIN
    assert "s3cret" not in "".join(said)
    assert "+#include pbxd_cel.conf" in said[0]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnippetError, match=r"no asterisk\.conf"):
        install.plan(tmp_path, "x")


def test_keyed_digits_are_never_asked_for() -> None:
    assert "DTMF" not in snippets.EVENTS
    assert "events = ALL" not in snippets.cel("")


def test_the_columns_are_those_that_are_read() -> None:
    assert len(snippets.COLUMNS) == len(COLUMNS)
    assert snippets.cel_custom("").count("CSV_QUOTE") == len(COLUMNS)


def test_the_journal_folder(tmp_path: Path) -> None:
    assert install.make_journal_folder(tmp_path)
    assert not install.make_journal_folder(tmp_path)
    assert (tmp_path / "cel-custom").stat().st_mode & 0o777 == 0o770
