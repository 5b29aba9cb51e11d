"""The spools as the pipeline sees them: folders that are ready, those that are done, and the rest, which is the recorder's."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pbxd.recording.stage import DONE, READY


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies in the spools."""

    ready: tuple[Path, ...]  # folders, the oldest first
    oldest: float  # s since it became ready; 0 for none
    unfinished: int  # folders of recordings that go on, or that a kill left to the recorder


def look(spools: Sequence[Path]) -> Waiting:
    """What lies in the spools now; nothing, where one is not there yet. OSError if one cannot be read."""
    ready: list[tuple[float, Path]] = []
    unfinished = set()
    for folder in (found for spool in spools if spool.is_dir() for found in spool.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        try:
            ready.append(((folder / READY).stat().st_mtime, folder))
        except FileNotFoundError:
            unfinished.add(folder.name)  # in two spools it is one
    ready.sort()
    age = max(0.0, time.time() - ready[0][0]) if ready else 0.0
    return Waiting(tuple(folder for _, folder in ready), age, len(unfinished))


def sweep(spools: Sequence[Path]) -> None:
    """Delete what is left of folders that are done. OSError if it cannot be."""
    for folder in (found for spool in spools for found in spool.glob(f".*{DONE}")):
        shutil.rmtree(folder)


def packed(folder: Path) -> BinaryIO:
    """All that lies in a folder as one tar file without a name, in the spool. OSError if it cannot be read or written."""
    file = tempfile.TemporaryFile(dir=folder.parent)  # noqa: SIM115 - the caller closes it
    try:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(folder, arcname=folder.name)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file
