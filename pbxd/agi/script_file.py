"""What a file of the scripts' folder has to be, so that it is run."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def fault(folder: Path, name: str) -> str:
    """Why the file `name` of `folder` cannot be a script; empty if it can. It never leads out of the folder."""
    path = folder / name
    if not NAME.fullmatch(name):
        return "its name is not made of letters, digits, . _ and -"
    try:
        found = path.stat()
        if path.resolve().parent != folder.resolve():
            return "it leads out of the folder"
    except OSError as error:
        return str(error.strerror)
    executable = found.st_mode & 0o111 and os.access(path, os.X_OK)
    faults = {
        "it is no file": not stat.S_ISREG(found.st_mode),
        "every user may change it: chmod o-w": found.st_mode & stat.S_IWOTH,
        "it is not executable: chmod +x": not executable,
    }
    return next((text for text, is_so in faults.items() if is_so), "")
