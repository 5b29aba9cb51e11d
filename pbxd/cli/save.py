"""Files that pbxctl writes for people: theirs alone, and under their name when they are complete, or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from pbxd.errors import ControlError


def save(content: Iterator[bytes], output: Path | None) -> None:
    """Write what comes, to a file that is one's own alone or to standard output.

    Until it is complete the file is hidden beside its place. A device or a pipe is written as it is.
    ControlError if it cannot be written, another pbxctl is writing it, or what comes is cut off.
    """
    if output is None:
        if sys.stdout.buffer.isatty():
            raise ControlError("this is no text: give it a file with -o, or a pipe")
        for data in content:
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        if output.exists() and not output.is_file():
            with output.open("wb") as sink:
                sink.writelines(content)
        else:
            _save_whole(content, Path(os.path.realpath(output)))  # what a link leads to is replaced, not the link
    except OSError as error:
        raise ControlError(f"{output} cannot be written: {error.strerror}") from error


def _save_whole(content: Iterator[bytes], output: Path) -> None:
    hidden = output.with_name(f".{output.name}.part")
    with open(_claimed(hidden), "wb") as file:
        try:  # all of it while it is locked: nobody takes it for one that was left behind
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
            hidden.replace(output)
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise
    folder = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _claimed(hidden: Path) -> int:
    """The descriptor of a new file, locked while it is open. One that a killed pbxctl left there is removed.

    ControlError if another pbxctl is writing it.
    """
    while True:
        try:
            descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            _remove_leftover(hidden)
            continue
        try:
            if _locked(descriptor, hidden):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_leftover(hidden: Path) -> None:
    try:
        descriptor = os.open(hidden, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return  # its writer is done just now
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ControlError(f"{hidden} is in the way: it is no file; move it away")
        if _locked(descriptor, hidden):
            hidden.unlink()
    finally:
        os.close(descriptor)


def _locked(descriptor: int, hidden: Path) -> bool:
    """Lock a file; False if it is no longer the one of that name. ControlError if another process has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.lstat(hidden))
    except BlockingIOError as error:
        raise ControlError(f"another pbxctl is writing {hidden}: wait for it, or give another name") from error
    except FileNotFoundError:
        return False
