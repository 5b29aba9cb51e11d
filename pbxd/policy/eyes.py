"""Looks with the eyes of another user, in a process of its own: what the operating system refuses, no rule in the code has to."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from pbxd.errors import ControlError

ASK = b"GET /v1/status HTTP/1.1\r\nhost: pbxd\r\nconnection: close\r\n\r\n"


def as_user(name: str, look: Callable[[], dict[str, str]], more: Iterable[int] = ()) -> dict[str, str]:
    """What `look` says when it runs as this user, with its groups and some more. ControlError if we may not become it."""
    user = pwd.getpwnam(name)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(sorted({*os.getgrouplist(name, user.pw_gid), *more}))
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
            os.write(writing, json.dumps(look()).encode())
        finally:
            os._exit(0)  # nothing of the parent is run in here
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise ControlError(f"nothing could be tried as {name}: run this as root")
    found: dict[str, str] = json.loads(data)
    return found


def tried(stores: Iterable[Path]) -> dict[str, str]:
    """Each store: "" if it is refused, "absent", or what could be read of it."""
    return {str(store): _read(store) for store in stores}


def _read(store: Path) -> str:
    try:
        if store.is_dir():
            return f"{len(list(store.iterdir()))} names in it can be listed"
        with store.open("rb") as file:
            return f"{len(file.read(16))} bytes of it can be read"
    except FileNotFoundError:
        return "absent"
    except OSError as error:  # EACCES, as it should be
        return "" if isinstance(error, PermissionError) else f"{error.strerror}"


def control(path: Path) -> str:
    """What a control socket answers; "" if it refuses, or nobody can get at it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(path))
        link.sendall(ASK)
        first = link.recv(64).split(b"\r\n")[0].decode("ascii", "replace")
        return "" if " 403 " in first else first
    return ""
