"""A TCP forwarder between pbxd and Asterisk's AMI whose connections can be cut, or that says something else instead."""

from __future__ import annotations

import contextlib
import socket
import threading


class Forwarder:
    """Listens on a port of its own at `host` and forwards to `target`."""

    def __init__(self, host: str, target: tuple[str, int]) -> None:
        self.target = target
        self.connections = 0
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                continue  # closed, or Asterisk is not there: pbxd tries again
            self.connections += 1
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()

    def inject(self, data: bytes) -> None:
        """Say `data` to pbxd on its newest connection, as if Asterisk had."""
        self._open[-2].sendall(data)

    def cut(self) -> None:
        """Cut every connection."""
        links, self._open = self._open, []
        for link in links:
            with contextlib.suppress(OSError):  # closed by its own end already
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def close(self) -> None:
        """Stop listening, cut everything."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until either end is closed."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for link in (source, sink):
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
