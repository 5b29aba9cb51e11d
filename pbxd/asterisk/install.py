"""Puts pbxd's part into an Asterisk's configuration folder, and takes it out again.

Only adds: files of our own (`pbxd_*.conf`, `extensions_pbxd.conf`) and one `#include` line, at the end of each file that
needs one. Where FreePBX generates the files, the line goes into the `_custom.conf` that it includes. Everything touched is
backed up first.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pbxd.asterisk import dialplan, snippets
from pbxd.errors import SnippetError

MARK = "; added by pbxd asterisk-config; `--remove` takes it out"
SECRET = re.compile(r"^(secret\s*=\s*).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """One file that Asterisk reads, where our part of it goes, and the section that it belongs to."""

    file: str
    custom: str  # what FreePBX includes instead; its text is inside the section already if `within`
    within: bool
    ours: str
    section: str


PLACES = (
    Place("cel.conf", "cel_general_custom.conf", within=True, ours="pbxd_cel.conf", section="general"),
    Place("cel_custom.conf", "", within=False, ours="pbxd_cel_custom.conf", section="mappings"),
    Place("manager.conf", "manager_custom.conf", within=False, ours="pbxd_manager.conf", section=""),
    Place("extensions.conf", "extensions_custom.conf", within=False, ours="extensions_pbxd.conf", section=""),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One file, as it is and as it is to be; None is absent."""

    path: Path
    before: str | None
    after: str | None


def read(path: Path) -> str | None:
    """The text of a file, bytes that are not UTF-8 kept; None if it is absent. SnippetError if it cannot be read."""
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnippetError(f"{path} cannot be read: {error.strerror}; run this as root") from error


def plan(
    etc: Path, secret: str, permit: str = "127.0.0.1/255.255.255.255", agi: str = dialplan.DEFAULT
) -> list[Change]:
    """The changes that bring our part into `etc`; empty if it is there. SnippetError if that is no Asterisk's folder."""
    if not (etc / "asterisk.conf").exists():
        raise SnippetError(f"{etc} is not Asterisk's configuration folder: it has no asterisk.conf")
    changes = []
    for place in PLACES:
        host, header = attach(etc, place)
        changes.append(Change(etc / place.ours, read(etc / place.ours), content(place, header, secret, permit, agi)))
        before = read(host)
        changes.append(Change(host, before, with_include(before or "", place.ours)))
    return [change for change in changes if change.before != change.after]


def attach(etc: Path, place: Place) -> tuple[Path, str]:
    """The file that gets the `#include`, and how our own file must begin there."""
    text = read(etc / place.file) or ""
    if place.custom and re.search(rf"^\s*#include\s+{re.escape(place.custom)}", text, re.MULTILINE):
        return etc / place.custom, "" if place.within or not place.section else f"[{place.section}](+)\n"
    if not place.section:
        return etc / place.file, ""
    # `(+)` adds to a section, and is an error where there is none yet.
    exists = re.search(rf"^\s*\[{place.section}\]", text, re.MULTILINE)
    return etc / place.file, f"[{place.section}](+)\n" if exists else f"[{place.section}]\n"


def content(place: Place, header: str, secret: str, permit: str, agi: str) -> str:
    """Our own file for `place`."""
    texts = {
        "cel.conf": lambda: snippets.cel(header),
        "cel_custom.conf": lambda: snippets.cel_custom(header),
        "manager.conf": lambda: snippets.manager(secret, permit=permit),
        "extensions.conf": lambda: dialplan.dialplan(agi),
    }
    return f"; written by pbxd asterisk-config; changes are lost at its next run\n{texts[place.file]()}"


def with_include(text: str, ours: str) -> str:
    """`text` with our `#include` at its end."""
    line = f"#include {ours}"
    if re.search(rf"^{re.escape(line)}\s*$", text, re.MULTILINE):
        return text
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{MARK}\n{line}\n"


def without_include(text: str, ours: str) -> str:
    """`text` as it was before `with_include`."""
    return text.replace(f"{MARK}\n#include {ours}\n", "")


def removal(etc: Path) -> list[Change]:
    """The changes that take our part out of `etc`."""
    changes = []
    for place in PLACES:
        changes.append(Change(etc / place.ours, read(etc / place.ours), None))
        for name in filter(None, (place.file, place.custom)):
            before = read(etc / name)
            if before is not None:
                after = without_include(before, place.ours)
                changes.append(Change(etc / name, before, after or None if before != after else before))
    return [change for change in changes if change.before != change.after]


def diff(changes: list[Change]) -> str:
    """The changes for reading, secrets masked."""
    lines: list[str] = []
    for change in changes:
        before, after = (SECRET.sub(r"\1********", text or "").splitlines() for text in (change.before, change.after))
        lines += difflib.unified_diff(before, after, str(change.path), str(change.path), lineterm="")
    return "\n".join(lines)


def apply(changes: list[Change], backup: Path) -> None:
    """Make the changes; each file that was there is copied to `backup` first. Owners and modes are kept."""
    try:
        for change in changes:
            if change.before is not None:
                backup.mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.copy2(change.path, backup / change.path.name)
        for change in changes:
            if change.after is None:
                change.path.unlink()
            else:
                replace(change.path, change.after)
    except OSError as error:
        raise SnippetError(f"{error.filename} cannot be changed: {error.strerror}; run this as root") from error


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, with the owner and mode of the one it replaces, or of its folder's owner."""
    like = path.stat() if path.exists() else path.parent.stat()
    mode = like.st_mode & 0o777 if path.exists() else 0o640
    unfinished = path.with_name(f".{path.name}.new")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fchmod(handle, mode)
        os.fchown(handle, like.st_uid, like.st_gid)
        os.fsync(handle)
    unfinished.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_journal_folder(log: Path) -> bool:
    """Make `cel-custom` in Asterisk's log folder, without which Asterisk writes no CEL. Whether it was missing."""
    folder = log / "cel-custom"
    if folder.is_dir():
        return False
    try:
        owner = log.stat()
        folder.mkdir()
        os.chown(folder, owner.st_uid, owner.st_gid)
        folder.chmod(0o2770)
    except OSError as error:
        raise SnippetError(f"{folder} cannot be made: {error.strerror}") from error
    return True


def run(
    etc: Path,
    changes: list[Change],
    backup: Path,
    *,
    write: bool,
    confirm: Callable[[], bool],
    say: Callable[[str], None],
) -> bool:
    """Show the changes and, if wanted, make them. Whether anything was written."""
    if not changes:
        say(f"{etc}: nothing to change")
        return False
    say(diff(changes))
    if not write:
        say(f"nothing was written; add --write {etc} to write this")
        return False
    if not confirm():
        say("nothing was written")
        return False
    apply(changes, backup)
    if backup.exists():
        say(f"what was there before is in {backup}")
    return True
