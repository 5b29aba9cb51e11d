"""The host of AGI scripts: a process beside pbxd, as another user where it can be, that runs each script under a keeper of its own.

`pbxd-scripts --folder F --fd N` serves the listening Unix socket N, which systemd opens, or pbxd itself. Of each connection it
forks a keeper (`script_keeper`). A keeper that was killed leaves its family to the host, a subreaper too, which ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import selectors
import signal
import socket
import struct
import sys
from pathlib import Path

from pbxd.agi.script_keeper import keep
from pbxd.errors import PbxdError
from pbxd.family import become_head, children, end_own, kill_below, signal_all

CREDENTIALS = struct.Struct("=iII")  # struct ucred: process, user, group
REQUEST = 10.0  # s that a request may take to come whole


class ScriptHost:
    """Accepts, forks, and looks after what its keepers leave."""

    def __init__(self, listening: socket.socket, folder: Path, user: str | None, allowed: frozenset[int]) -> None:
        self._listening = listening
        self._folder = folder
        self._user = user
        self._allowed = allowed  # users who may ask for a script
        self._keepers: set[int] = set()
        self._stopped = False

    def _stop(self) -> None:
        self._stopped = True  # no more than that: what ends families must not be ended by a second signal

    def serve(self, lifeline: int | None) -> None:
        """Until SIGTERM, or until the one who holds the other end of `lifeline` is gone."""
        wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        with selectors.DefaultSelector() as selector:
            for file in (self._listening.fileno(), wake, *([] if lifeline is None else [lifeline])):
                selector.register(file, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if wake in ready:
                    os.read(wake, 4096)
                    self._reap()
                if lifeline in ready or self._stopped:
                    return
                if self._listening.fileno() in ready:
                    self._accept()

    def _accept(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            _, user, _ = CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            )
            if user not in self._allowed:
                print(f"user {user} may not ask for a script", file=sys.stderr, flush=True)
                return
            try:
                child = os.fork()
            except OSError as error:  # too many processes; the other scripts go on
                print(f"no keeper for a script: {error.strerror}", file=sys.stderr, flush=True)
                return
            if child:
                self._keepers.add(child)
                return
            self._become_keeper(connection)

    def _become_keeper(self, connection: socket.socket) -> None:
        """The child's whole life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self._listening.close()
            become_head()
            connection.settimeout(REQUEST)
            keep(connection, self._folder, self._user, lambda: self._stopped)
            code = 0
        except (PbxdError, OSError) as error:
            print(f"a keeper of scripts failed: {error}", file=sys.stderr, flush=True)
        finally:
            end_own()
            os._exit(code)

    def _reap(self) -> None:
        """Wait for keepers that have ended, and end the families of those that did not do it themselves."""
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                self._keepers.discard(ended)
        for stray in set(children(os.getpid())) - self._keepers:
            kill_below(stray)
            signal_all([stray], signal.SIGKILL)  # what it has started since comes to us, and its end wakes us again


def main() -> None:
    """`pbxd-scripts`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/etc/pbxd/agi.d"), help="where the scripts are")
    parser.add_argument("--fd", type=int, default=3, help="descriptor of the listening socket")
    parser.add_argument("--for", dest="client", action="append", default=[], help="user who may ask for scripts")
    parser.add_argument("--user", help="as whom scripts run; needs root")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    given = parser.parse_args()
    clients = {int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid for name in given.client}
    become_head()
    listening = socket.socket(fileno=given.fd)
    listening.setblocking(True)
    try:
        ScriptHost(listening, given.folder, given.user, frozenset({0, *clients})).serve(0 if given.lifeline else None)
    finally:
        end_own()


if __name__ == "__main__":
    main()
