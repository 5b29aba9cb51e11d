"""The spools while a recording is made: a folder each, with the sound that Asterisk writes and the state that we write beside it.

`state.json` stands there from before Asterisk is asked until the recording is complete; then `ready.json` takes its place, and the
folder is the pipeline's. Where a recording went on in another spool it has a folder there too, without a state; all is brought
together in one when it is complete. Each step can be killed and is done again at the next start.
"""

from __future__ import annotations

import errno
import grp
import json
import os
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from pbxd.recording.segments import Recording, Segment, finished, recording_of, state_of

STATE, READY = "state.json", "ready.json"
DONE = ".done"  # suffix of a folder that is on its way out of the spool; such names begin with a dot
NOWHERE = "nowhere.sln"  # a link to /dev/null: what Asterisk writes there is in no file
MODE = 0o2770  # of the spool: all that is made in it is of the group by which Asterisk writes
FOLDER = 0o770  # of a recording's folder where the bit for the group cannot be set
CLOSING = 3.0  # s that Asterisk gets to finish its files when the call is over
LOOK = 0.05  # s between looks at them
HEADER = 44  # bytes before the sound in a WAV file of Asterisk's
SHORTEST = 20_000  # µs of a segment: one packet of sound; a shorter one is none
MISSING = 1_000_000  # µs of sound that may be missing at a segment's end before it is a fault
log = structlog.get_logger("pbxd.recording")


def open_spool(spool: Path, group: str) -> None:
    """Make the spool, which Asterisk may write to, where it is not so already. OSError if it cannot be made.

    On a box systemd-tmpfiles has made it; the unit's sandbox allows neither the group nor the mode to be changed.
    """
    spool.mkdir(parents=True, exist_ok=True)
    found = spool.stat()
    try:
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        if found.st_gid != gid:
            os.chown(spool, -1, gid)
    except (LookupError, PermissionError) as error:
        log.warning("Asterisk may not be able to write recordings", spool=str(spool), group=group, error=str(error))
    try:
        if found.st_mode & 0o7777 != MODE:
            spool.chmod(MODE)
    except PermissionError as error:
        log.warning("a spool has not the mode 2770, and it cannot be set", spool=str(spool), error=str(error))
    nowhere = spool / NOWHERE
    if not nowhere.is_symlink():
        nowhere.symlink_to("/dev/null")


def names(segment: Segment) -> tuple[str, str]:
    """The two files of a segment, as they are called in its folder."""
    return f"{segment.number}.rx.wav", f"{segment.number}.tx.wav"


def write_state(spool: Path, recording: Recording) -> None:
    """Write down how far a recording is, and make the folders that its sound goes to. OSError if a spool cannot take it."""
    folder = spool / recording.id
    others = [Path(one.place) / one.folder for one in recording.segments if one.going_on and one.place]
    # Those first in which Asterisk is to write now: this spool may be the one that is full.
    for place in (*others, folder):
        if not place.is_dir():
            place.mkdir()
            try:
                place.chmod(MODE)
            except PermissionError:
                place.chmod(FOLDER)  # the unit lets nobody set the bit: Asterisk's files have its own group then
    replace(folder / STATE, state_of(recording))


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all, and onto the disk. OSError if that cannot be."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(folder: Path) -> None:
    """Take a folder out of the spool, in one step: a half that is left would be taken for one that goes on. OSError if it stays."""
    done = folder.with_name(f".{folder.name}{DONE}")
    shutil.rmtree(done, ignore_errors=True)  # of an earlier one, killed in the middle
    folder.rename(done)
    shutil.rmtree(done)


def left_behind(*spools: Path) -> list[Recording]:
    """The recordings that an earlier run did not finish, those that had become part of another left out."""
    found: dict[str, Recording] = {}
    stateless = []
    for folder in (folder for spool in spools for folder in _unfinished(spool)):
        if not (folder / STATE).exists():
            stateless.append(folder)
        elif (recording := _read(folder)) is not None:
            found[recording.id] = recording  # killed while it moved to another spool, it is in both
    known = {*found, *(one.folder for recording in found.values() for one in recording.segments)}
    for folder in (one for one in stateless if one.name not in known):  # else it is what went on in another spool
        if any(folder.glob("*.wav")):
            log.error("a recording's state is missing; its folder is left", folder=str(folder))
        else:
            remove(folder)  # killed before its state was written
    parts = {name for recording in found.values() for name in recording.merged}
    return [recording for name, recording in found.items() if name not in parts]


def _unfinished(spool: Path) -> Iterator[Path]:
    """The folders that are not the pipeline's."""
    for folder in sorted(spool.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        if (folder / READY).exists():
            (folder / STATE).unlink(missing_ok=True)  # killed between the two
        else:
            yield folder


def _read(folder: Path) -> Recording | None:
    try:
        recording = recording_of((folder / STATE).read_text())
    except (OSError, ValueError) as error:
        log.error("a recording's state cannot be read; its folder is left", folder=str(folder), error=str(error))
        return None
    recording.place = str(folder.parent)
    for segment in recording.segments:
        segment.place = segment.place or str(folder.parent)  # of a pbxd that knew one spool
    return recording


def complete(spools: Sequence[Path], recording: Recording) -> bool:
    """Hand a recording over to the pipeline, when Asterisk has closed its files. False if there is no sound at all: it is gone.

    If its sound is in several spools it is brought to the last of them, the disk's. Blocks for as long as that takes, else for some
    seconds at most. OSError if the spool cannot take it; it can be tried again.
    """
    used = {recording.place, *(segment.place for segment in recording.segments)}
    home = [spool for spool in spools if str(spool) in used or spool == spools[0]][-1]
    folder = home / recording.id
    if recording.place not in ("", str(home)):
        recording.place = str(home)
        write_state(home, recording)  # it is found here from now on, when the other one goes
    files = {}
    deadline = time.monotonic() + CLOSING
    for segment in recording.segments:
        moved = _gather(spools, folder, segment, deadline)
        if moved is not None and _set_times(folder / moved[0], segment) >= SHORTEST:
            files[segment.folder, segment.number] = moved
            short = _shortfall(folder / moved[0], segment)
            recording.faults += [fault for fault in short if fault not in recording.faults]  # of a try before
        else:
            segment.at = None
    for other in (spool / name for spool in spools for name in (*recording.merged, recording.id)):
        if other.exists() and not (files and other == folder):
            remove(other)
    if not files:
        return False
    replace(folder / READY, json.dumps(finished(recording, files), ensure_ascii=False))
    (folder / STATE).unlink(missing_ok=True)
    return True


def _gather(spools: Sequence[Path], folder: Path, segment: Segment, deadline: float) -> tuple[str, str] | None:
    """The segment's files, closed and in the recording's own folder; None if Asterisk made none."""
    moved = []
    for name in names(segment):
        new = name if segment.folder == folder.name else f"{segment.folder}-{name}"
        for path in (
            spool / place for spool in spools for place in (f"{segment.folder}/{name}", f"{folder.name}/{new}")
        ):
            if path.exists():
                closed = _closed(path, deadline)
                _move(path, folder / new)
                if not closed:
                    _mend(folder / new)
                moved.append(new)
                break
    return (moved[0], moved[1]) if len(moved) == 2 else None


def _move(path: Path, target: Path) -> None:
    """Give a file its place, whole; on another disk the old one stays beside it until its folder goes."""
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        new = target.with_suffix(".new")
        try:
            shutil.copy2(path, new)  # with its times, which say when Asterisk wrote last
        except OSError:
            new.unlink(missing_ok=True)
            raise
        new.rename(target)


def _closed(path: Path, deadline: float) -> bool:
    """Wait until Asterisk has closed the file: then its header tells its length. False if it was never closed."""
    while not _header_fits(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK)
    return True


def _mend(path: Path) -> None:
    """Give a file that was never closed the lengths that it has. It is copied: it is Asterisk's, and may not be ours to write."""
    size = path.stat().st_size
    if size < HEADER:
        return
    new = path.with_suffix(".new")
    with path.open("rb") as old, new.open("wb") as file:
        header = old.read(HEADER)
        file.write(header[:4] + struct.pack("<I", size - 8) + header[8:40] + struct.pack("<I", size - HEADER))
        shutil.copyfileobj(old, file, 1024**2)
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))  # when Asterisk wrote last
    new.rename(path)


def _set_times(path: Path, segment: Segment) -> int:
    """Say when the segment ended, if that is earlier than it was noticed, and when it began, if Asterisk's answer was not heard.

    How long it is, in µs.

    Asterisk writes to a file last when it closes it. How long its sound is says when it began, not before it was asked for.
    """
    closed = path.stat().st_mtime_ns // 1000
    segment.end = closed if segment.end is None else min(segment.end, closed)
    if segment.at is None:
        segment.at = max(segment.asked_at, closed - _length(path))
    segment.end = max(segment.at, segment.end)
    return segment.end - segment.at


def _length(path: Path) -> int:
    """The sound of a file, in µs; 0 for one that is none."""
    with path.open("rb") as file:
        header = file.read(HEADER)
    (per_second,) = struct.unpack("<I", header[28:32]) if len(header) == HEADER else (0,)
    return (path.stat().st_size - HEADER) * 1_000_000 // per_second if per_second else 0


def _header_fits(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(HEADER)
    if len(header) < HEADER:
        return False
    (length,) = struct.unpack("<I", header[40:44])
    return bool(HEADER + length == path.stat().st_size)


def _shortfall(path: Path, segment: Segment) -> Iterator[str]:
    """What to say of a file that ends long before its segment: the spool was full."""
    length = _length(path)
    missing = 0 if segment.at is None or segment.end is None else segment.end - segment.at - length
    if length and missing > MISSING:
        yield f"{missing / 1_000_000:.1f} s of {segment.channel} are missing"
