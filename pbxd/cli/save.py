"""Files that pbxctl writes for people: theirs alone, and what is to be complete only under its name when it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from pbxd.errors import ControlError


def save(content: Iterator[bytes], output: Path | None) -> None:
    """Write what comes, to a file that is one's own alone or to standard output. ControlError if it cannot be written."""
    if output is None:
        if sys.stdout.buffer.isatty():
            raise ControlError("this is no text: give it a file with -o, or a pipe")
        for data in content:
            sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    first = next(content, b"")  # a refusal comes before there is a file
    try:
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(first)
            for data in content:
                file.write(data)
    except OSError as error:
        raise ControlError(f"{output} cannot be written: {error.strerror}") from error


def save_whole(content: Iterator[bytes], output: Path) -> None:
    """The same, but the file is there when it is complete, or not at all. Until then it is hidden beside its place.

    What a kill leaves hidden is overwritten by the next try. ControlError if it cannot be written, or what comes is cut off.
    """
    hidden = output.with_name(f".{output.name}.part")
    first = next(content, b"")
    try:
        with os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            try:
                file.write(first)
                for data in content:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                hidden.unlink(missing_ok=True)
                raise
        hidden.replace(output)
        folder = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ControlError(f"{output} cannot be written: {error.strerror}") from error
