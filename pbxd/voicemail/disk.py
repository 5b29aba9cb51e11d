"""Reads the voicemail spool while Asterisk works in it: files come, go and are renumbered under our hands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pbxd.errors import SpoolError
from pbxd.voicemail.spool import (
    ASIDE,
    FOLDERS,
    FORMATS,
    GREETINGS,
    LARGEST_TEXT,
    Box,
    Message,
    Text,
    good_name,
    message_number,
    parse_text,
    text_file,
)

LARGEST_SOUND = 64 * 1024**2  # bytes: more than an hour of 8 kHz linear sound
MOST_MESSAGES = 200_000  # of all boxes; Asterisk's own limit is 9,999 a folder
STALE_LOCK = 10.0  # s after which a lock is one that a killed Asterisk left behind, and hides nothing
TRIES = 5  # of finding a message that is renumbered while we read it
LOCK = ".lock"
PLACE = ".pbxd-new"  # ending of a greeting that is being written

Seen = tuple[int, int, int]  # inode, size, changed ns: whether a file is the one that was parsed


@dataclass(frozen=True, slots=True)
class Scan:
    """The spool at one moment."""

    messages: tuple[Message, ...] = ()
    boxes: tuple[Box, ...] = ()
    rejects: dict[str, str] = field(default_factory=dict)  # path -> why it is no message
    folders: frozenset[Path] = frozenset()  # to be watched
    busy: bool = False  # Asterisk is at work in a folder, or a message is not whole: look again soon


class Disk:
    """The spool below `root`, for reading; written are greetings, and a message of the archive that is to be forwarded."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._texts: dict[Path, tuple[Seen, Text | str]] = {}  # what each text file said when it was as Seen
        self._folders: dict[Path, tuple[Message, ...]] = {}  # what each folder held when it was last seen at rest

    def scan(self, now: float) -> Scan:
        """Look at everything; `now` is in epoch seconds. SpoolError if the spool itself cannot be read."""
        messages: list[Message] = []
        boxes: list[Box] = []
        rejects: dict[str, str] = {}
        folders = {self.root if self.root.is_dir() else self.root.parent}  # Asterisk makes it with the first message
        before, self._texts = self._texts, {}
        resting, self._folders = self._folders, {}
        busy = False
        for context in self._below(self.root, strict=True):
            folders.add(context)
            for place in self._below(context):
                box = Box(context.name, place.name)
                boxes.append(box)
                folders.add(place)
                for name in FOLDERS:
                    folder = place / name
                    if not folder.is_dir():
                        continue
                    folders.add(folder)
                    if _locked(folder, now):
                        busy = True  # a resequence under way shows messages twice or not at all: what was, is still so
                        self._folders[folder] = resting.get(folder, ())
                        messages += self._folders[folder]
                        self._texts |= {path: known for path, known in before.items() if path.parent == folder}
                        continue
                    found = tuple(self._folder(box, folder, before, rejects))
                    self._folders[folder] = found
                    messages += found
                    if len(messages) > MOST_MESSAGES:
                        raise SpoolError(f"{self.root} holds more than {MOST_MESSAGES} messages")
        busy = busy or any(reason.endswith("yet") for reason in rejects.values())
        return Scan(tuple(messages), tuple(boxes), rejects, frozenset(folders), busy)

    def _below(self, folder: Path, *, strict: bool = False) -> list[Path]:
        """Folders in `folder` whose names can be a context's or a box's."""
        try:
            with os.scandir(folder) as entries:
                return sorted(Path(e.path) for e in entries if good_name(e.name) and e.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return []  # no message was left yet
        except OSError as error:
            if strict:
                message = f"{folder} cannot be read: {error.strerror}; let the user of pbxd read it"
                raise SpoolError(message) from error
            return []

    def _folder(
        self, box: Box, folder: Path, before: dict[Path, tuple[Seen, Text | str]], rejects: dict[str, str]
    ) -> Iterator[Message]:
        try:
            names = {entry.name for entry in folder.iterdir()}
        except OSError as error:
            rejects[str(folder)] = f"it cannot be read: {error.strerror}"
            return
        for name in sorted(names):
            stem, dot, ending = name.rpartition(".")
            number = message_number(stem) if dot and ending == "txt" else None
            if number is None:
                continue
            path = folder / name
            text = self._text(path, before)
            if text is None:
                continue  # gone meanwhile
            formats = tuple(form for form in FORMATS if f"{stem}.{form}" in names)
            if isinstance(text, str):
                rejects[str(path)] = text
            elif not formats:
                rejects[str(path)] = "there is no sound beside it yet"
            else:
                yield Message(box, folder.name, number, text, formats)

    def _text(self, path: Path, before: dict[Path, tuple[Seen, Text | str]]) -> Text | str | None:
        """What the file says, or why it is no message; None if it is not there any more."""
        try:
            status = path.stat(follow_symlinks=False)
            seen = (status.st_ino, status.st_size, status.st_mtime_ns)
            known = before.get(path)
            if known is None or known[0] != seen:
                known = (seen, _parsed(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        self._texts[path] = known
        return known[1]

    def sound(self, message: Message) -> tuple[str, bytes]:
        """The format and the bytes of a message's sound, wherever in its folder it lies by now. SpoolError if it is gone.

        Another message's sound is never given: the text beside it is read before and after the sound was opened.
        """
        folder = self._path(message.box) / message.folder
        for _ in range(TRIES):
            stem = self._find(folder, message)
            if stem is None:
                continue
            for form in FORMATS:
                try:
                    with (folder / f"{stem}.{form}").open("rb") as file:
                        if self._is(folder / f"{stem}.txt", message):
                            data = file.read(LARGEST_SOUND + 1)
                            if len(data) > LARGEST_SOUND:
                                raise SpoolError(f"the sound of {message.text.id} is larger than {LARGEST_SOUND} bytes")
                            return form, data
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise SpoolError(f"{folder}/{stem}.{form} cannot be read: {error.strerror}") from error
        raise SpoolError(f"the message {message.text.id} is not in {message.folder} of {message.box} any more")

    def _find(self, folder: Path, message: Message) -> str | None:
        """The stem of the message's files."""
        try:
            stems = [f"msg{message.number:04}"]
            stems += sorted(entry.stem for entry in folder.iterdir() if entry.suffix == ".txt")
        except OSError:
            return None
        return next((stem for stem in stems if self._is(folder / f"{stem}.txt", message)), None)

    @staticmethod
    def _is(path: Path, message: Message) -> bool:
        try:
            return _parsed(path) == message.text
        except OSError:
            return False

    def _path(self, box: Box) -> Path:
        return self.root / box.context / box.mailbox

    def lay_aside(self, box: Box, text: Text, form: str, sound: bytes) -> None:
        """Put a message of the archive where Asterisk finds it and no phone does: into `ASIDE` of its mailbox.

        SpoolError if that is not allowed, or Asterisk is at work there. Whoever lays it there has Asterisk take it out again.
        """
        place = self._path(box)
        folder = place / ASIDE
        made: list[Path] = []
        try:
            group = place.stat().st_gid
            if not folder.exists():
                folder.mkdir()
                if folder.stat().st_gid != group:  # else by `chmod g+s`: the unit allows neither that bit nor chown
                    os.chown(folder, -1, group)
                folder.chmod(0o775)  # Asterisk locks and renumbers in it
            if (folder / LOCK).exists():
                raise SpoolError(f"Asterisk is at work in {folder}: try again")
            names = {path.stem for path in folder.iterdir()}
            stem = next(stem for stem in (f"msg{number:04}" for number in count()) if stem not in names)
            for ending, data in ((form, sound), ("txt", text_file(box, text))):
                path = folder / f"{stem}.{ending}"
                with path.open("xb") as file:
                    made.append(path)
                    os.fchmod(file.fileno(), 0o644)  # Asterisk, another user, reads it
                    file.write(data)
        except OSError as error:
            for path in made:
                path.unlink(missing_ok=True)
            way = f"let pbxd write there, or hand it on as a file: pbxctl voicemail play {box} {text.id} -o FILE"
            raise SpoolError(f"it cannot be laid into {folder} to be forwarded: {error.strerror}; {way}") from error

    def greetings(self, box: Box) -> dict[str, int]:
        """The greetings that a box has: what for -> bytes."""
        place = self._path(box)
        found: dict[str, int] = {}
        for kind, stem in GREETINGS.items():
            for form in FORMATS:
                try:
                    found[kind] = (place / f"{stem}.{form}").stat().st_size
                    break
                except OSError:
                    continue
        return found

    def greeting_files(self, box: Box) -> dict[str, bytes]:
        """What is in each greeting of a box, by the name of its file. SpoolError if one cannot be read."""
        place = self._path(box)
        found: dict[str, bytes] = {}
        for stem in GREETINGS.values():
            for form in FORMATS:
                try:
                    found[f"{stem}.{form}"] = (place / f"{stem}.{form}").read_bytes()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise SpoolError(f"{place}/{stem}.{form} cannot be read: {error.strerror}") from error
        return found

    def greet(self, box: Box, kind: str, data: bytes | None) -> None:
        """Put a greeting (a WAV file as Asterisk plays it) in place, whole or not at all; None takes it away.

        Other formats of the old one go, for Asterisk would choose among them. SpoolError if that is not allowed.
        """
        place, stem = self._path(box), GREETINGS.get(kind)
        if stem is None:
            raise SpoolError(f"{kind!r} is no greeting; there are {', '.join(GREETINGS)}")
        unfinished = place / f"{stem}{PLACE}"
        try:
            if data is not None:
                place.mkdir(parents=True, exist_ok=True)
                with unfinished.open("wb") as file:
                    os.fchmod(file.fileno(), 0o644)  # Asterisk, another user, reads it
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                unfinished.replace(place / f"{stem}.wav")
            for form in FORMATS:
                if data is None or form != "wav":
                    (place / f"{stem}.{form}").unlink(missing_ok=True)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            hint = "let pbxd write there, or record it by phone"
            raise SpoolError(f"the greeting cannot be put into {place}: {error.strerror}; {hint}") from error


def _parsed(path: Path) -> Text | str:
    with path.open("rb") as file:
        data = file.read(LARGEST_TEXT + 1)
    try:
        return parse_text(data)
    except SpoolError as error:
        return str(error)


def _locked(folder: Path, now: float) -> bool:
    """Whether Asterisk holds the folder's lock (a hard link of that name, by ast_lock_path)."""
    try:
        return abs(now - (folder / LOCK).stat(follow_symlinks=False).st_mtime) < STALE_LOCK
    except OSError:
        return False
