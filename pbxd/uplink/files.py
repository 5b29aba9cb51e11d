"""Small files of JSON that have to be whole, and folders that are pbxd's alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pbxd.errors import UplinkError

HALF = ".half"  # the suffix of what is not finished


def make_folder(folder: Path) -> None:
    """Make a folder that nobody else may open. UplinkError if it cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UplinkError(f"{folder} cannot be made: {error.strerror}") from error


def write_whole(path: Path, text: str, mode: int = 0o640) -> None:
    """Write a file so that it is there whole or as it was, also after a power cut. UplinkError if it cannot be."""
    half = path.with_name(path.name + HALF)
    try:
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        half.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise UplinkError(f"{path} cannot be written: {error.strerror}") from error


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Add a line of JSON, on the disk when this returns. UplinkError if it cannot be."""
    data = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            length = os.fstat(handle).st_size
            if length and os.pread(handle, 1, length - 1) != b"\n":  # what a full disk or a power cut left of a line
                data = b"\n" + data
            if os.write(handle, data) != len(data):
                raise UplinkError(f"{path} took a part of a line only: the disk is full")
            os.fdatasync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise UplinkError(f"{path} cannot be written: {error.strerror}") from error


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of such a file; a last one that was cut by a full disk is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UplinkError(f"{path} cannot be read: {error.strerror}") from error
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON
    """The JSON in a file; None if it is not there. UplinkError if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UplinkError(f"{path} cannot be read: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make what was renamed there durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
