"""The spool while a recording is made: a folder each, with the sound that Asterisk writes and the state that we write beside it.

`state.json` stands there from before Asterisk is asked until the recording is complete; then `ready.json` takes its place, and the
folder is the pipeline's. Each step can be killed and is done again at the next start.
"""

from __future__ import annotations

import grp
import json
import os
import shutil
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from pbxd.recording.segments import Recording, Segment, finished, recording_of, state_of

STATE, READY = "state.json", "ready.json"
DONE = ".done"  # suffix of a folder that is on its way out of the spool; such names begin with a dot
NOWHERE = "nowhere.sln"  # a link to /dev/null: what Asterisk writes there is in no file
MODE = 0o2770  # Asterisk writes here by the folder's group, which is the spool's
CLOSING = 3.0  # s that Asterisk gets to finish its files when the call is over
LOOK = 0.05  # s between looks at them
HEADER = 44  # bytes before the sound in a WAV file of Asterisk's
SHORTEST = 20_000  # µs of a segment: one packet of sound; a shorter one is none
MISSING = 1_000_000  # µs of sound that may be missing at a segment's end before it is a fault
log = structlog.get_logger("pbxd.recording")


def open_spool(spool: Path, group: str) -> None:
    """Make the spool, which Asterisk may write to, where it is not so already: the unit lets pbxd give nothing to another group.

    OSError if it cannot be made.
    """
    spool.mkdir(parents=True, exist_ok=True)
    try:
        number = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        if spool.stat().st_gid != number:
            os.chown(spool, -1, number)
    except (LookupError, PermissionError) as error:
        log.warning("Asterisk may not be able to write recordings", spool=str(spool), group=group, error=str(error))
    if stat.S_IMODE(spool.stat().st_mode) != MODE:
        spool.chmod(MODE)
    nowhere = spool / NOWHERE
    if not nowhere.is_symlink():
        nowhere.symlink_to("/dev/null")


def names(segment: Segment) -> tuple[str, str]:
    """The two files of a segment, as they are called in its folder."""
    return f"{segment.number}.rx.wav", f"{segment.number}.tx.wav"


def write_state(spool: Path, recording: Recording) -> None:
    """Write down how far a recording is. OSError if the spool cannot take it."""
    folder = spool / recording.id
    if not folder.is_dir():
        folder.mkdir()
        try:
            folder.chmod(MODE)
        except PermissionError:  # the unit lets nobody set the bit for new files' group: Asterisk's have its own then
            folder.chmod(stat.S_IRWXU | stat.S_IRWXG)
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


def left_behind(spool: Path) -> list[Recording]:
    """The recordings that an earlier run did not finish, those that had become part of another left out."""
    found = {}
    for folder in sorted(spool.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        file = folder / STATE
        if (folder / READY).exists():
            file.unlink(missing_ok=True)  # killed between the two
            continue
        if not file.exists() and not any(folder.glob("*.wav")):  # killed before its state was written
            remove(folder)
            continue
        try:
            recording = recording_of(file.read_text())
        except (OSError, ValueError) as error:
            log.error(
                "a recording's state cannot be read; its folder is left", folder=str(file.parent), error=str(error)
            )
            continue
        found[recording.id] = recording
    parts = {name for recording in found.values() for name in recording.merged}
    return [recording for name, recording in found.items() if name not in parts]


def complete(spool: Path, recording: Recording) -> bool:
    """Hand a recording over to the pipeline, when Asterisk has closed its files. False if there is no sound at all: it is gone.

    Blocks for some seconds at most. OSError if the spool cannot take it; it can be tried again.
    """
    folder = spool / recording.id
    files = {}
    deadline = time.monotonic() + CLOSING
    for segment in recording.segments:
        moved = _gather(spool, folder, segment, recording.id, deadline)
        if moved is not None and _set_times(folder / moved[0], segment) >= SHORTEST:
            files[segment.folder, segment.number] = moved
            recording.faults += _shortfall(folder / moved[0], segment)
        else:
            segment.at = None
    for part in recording.merged if files else (*recording.merged, recording.id):
        if (spool / part).exists():
            remove(spool / part)
    if not files:
        return False
    replace(folder / READY, json.dumps(finished(recording, files), ensure_ascii=False))
    (folder / STATE).unlink(missing_ok=True)
    return True


def _gather(spool: Path, folder: Path, segment: Segment, own: str, deadline: float) -> tuple[str, str] | None:
    """The segment's files, closed and in the recording's own folder; None if Asterisk made none."""
    moved = []
    for name in names(segment):
        new = name if segment.folder == own else f"{segment.folder}-{name}"
        for path in (spool / segment.folder / name, folder / new):
            if path.exists():
                _closed(path, deadline)
                path.rename(folder / new)
                moved.append(new)
                break
    return (moved[0], moved[1]) if len(moved) == 2 else None


def _closed(path: Path, deadline: float) -> None:
    """Wait until Asterisk has closed the file: then its header tells its length. One that was never closed is mended."""
    while not _header_fits(path):
        if time.monotonic() > deadline:
            _mend(path)
            return
        time.sleep(LOOK)


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
