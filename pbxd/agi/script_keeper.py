"""The keeper of one script: starts it within its limits, sees that its family keeps to them together, and ends all of it.

It is the head of the family (`pbxd.family`): it closes its connection when the kernel says that nothing of it is left.
Between fork and exec nothing of pbxd's own environment, descriptors or credentials is passed on.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import resource
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pbxd.agi.script_file import fault
from pbxd.agi.script_request import DESCRIPTORS, HANGUP, LONGEST, ScriptRequest, parsed
from pbxd.errors import AGIAppError
from pbxd.family import PR_SET_NO_NEW_PRIVS, Usage, end_own, prctl, usage

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
FILES = 256  # descriptors
LOOK = 100  # ms between looks at what the family uses
SPARE = 16  # processes of the same user beside the families: hosts and keepers
KEEPER_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def keep(connection: socket.socket, folder: Path, user: str | None, stopped: Callable[[], bool]) -> None:
    """Run what the connection asks for, until `stopped` at the longest; returns when all of it is gone."""
    try:
        request, files = receive(connection)
        try:
            script = start(request, files, folder, user)
        finally:
            for file in files:
                os.close(file)
    except AGIAppError as error:
        say(connection, {"fault": str(error)})
        return
    say(connection, {"pid": script})
    verdict = watch(connection, script, request, stopped)
    ended = end_own()
    if script in ended and "code" not in verdict:
        verdict["code"] = os.waitstatus_to_exitcode(ended[script])
    say(connection, verdict)


def say(connection: socket.socket, what: dict[str, Any]) -> None:
    """One line to pbxd, if it still listens."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(what).encode() + b"\n")


def receive(connection: socket.socket) -> tuple[ScriptRequest, list[int]]:
    """The request and the script's three descriptors. AGIAppError if they do not come whole."""
    line, files, _, _ = socket.recv_fds(connection, 65536, DESCRIPTORS)
    more = line
    while more and not line.endswith(b"\n") and len(line) < LONGEST:
        more = connection.recv(65536)
        line += more
    try:
        if len(files) != DESCRIPTORS:
            raise AGIAppError("a request for a script came without its descriptors")  # noqa: TRY301 - those that came are closed
        return parsed(line), files
    except AGIAppError:
        for file in files:
            os.close(file)
        raise


def start(request: ScriptRequest, files: list[int], folder: Path, user: str | None) -> int:
    """Start the script: its process id. AGIAppError if that cannot be."""
    if problem := fault(folder, request.name):
        raise AGIAppError(f"{folder / request.name}: {problem}")
    try:
        entry = pwd.getpwnam(user) if user is not None else None
    except KeyError as error:
        raise AGIAppError(f"agi.scripts.user: there is no user {user}") from error
    failed, tells = os.pipe2(os.O_CLOEXEC)
    script = os.fork()
    if not script:
        become_script(request, files, folder / request.name, entry, tells)
    os.close(tells)
    with os.fdopen(failed) as reader:
        problem = reader.read()  # ends at the exec, which closes it
    if problem:
        raise AGIAppError(f"{folder / request.name} cannot be started: {problem}")
    return script


def become_script(
    request: ScriptRequest, files: list[int], path: Path, entry: pwd.struct_passwd | None, tells: int
) -> None:
    """The child's way from fork to exec; a failure is told through `tells`."""
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.dup2(tells, DESCRIPTORS, inheritable=False)
        tells = DESCRIPTORS
        os.closerange(DESCRIPTORS + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        os.chdir("/")
        for number in KEEPER_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if entry is not None:
            os.initgroups(entry.pw_name, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        limit(request)
        os.execve(path, [str(path), *request.arguments], ENVIRONMENT)  # noqa: S606 - no shell is meant
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told, and this child ends
        os.write(tells, (getattr(error, "strerror", None) or str(error) or type(error).__name__).encode())
    finally:
        os._exit(127)


def limit(request: ScriptRequest) -> None:
    """What the kernel itself holds each process to; of one user's processes it counts those of all families together."""
    cpu = max(1, round(request.cpu))
    processes = (request.processes + 1) * max(1, request.at_once) + SPARE
    for what, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, FILES, FILES),
        (resource.RLIMIT_NPROC, processes, processes),
        (resource.RLIMIT_CPU, cpu, cpu + 1),  # SIGXCPU, then SIGKILL
        (resource.RLIMIT_AS, request.memory, request.memory),
    ):
        highest = resource.getrlimit(what)[1]
        most = hard if highest == resource.RLIM_INFINITY else min(hard, highest)
        resource.setrlimit(what, (min(soft, most), most))


def passed(used: Usage, request: ScriptRequest) -> str:
    """Which limit a family has passed; empty for none."""
    if used.processes > request.processes:
        return "processes"
    if used.memory > request.memory:
        return "memory"
    return "cpu" if used.cpu > request.cpu else ""


def heard(connection: socket.socket) -> bytes:
    """The next byte from pbxd; none when it is gone."""
    try:
        return connection.recv(1)
    except ConnectionError:
        return b""


def watch(
    connection: socket.socket, script: int, request: ScriptRequest, stopped: Callable[[], bool]
) -> dict[str, Any]:
    """Wait for the script's end, for pbxd's word, or for a limit that is passed: what there is to say of it."""
    connection.setblocking(True)
    ended = os.pidfd_open(script)
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    poller.register(ended, select.POLLIN)
    while not stopped():
        ready = {file for file, _ in poller.poll(LOOK)}
        if ended in ready:
            return {"code": os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])}
        if connection.fileno() in ready:
            if heard(connection) != HANGUP:
                return {}
            os.kill(script, signal.SIGHUP)
        if over := passed(usage(os.getpid(), request.processes), request):
            return {"over": over}
    return {}
