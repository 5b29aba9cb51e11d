"""Records the AMI stream of a real Asterisk, all events on, for bench/ami.py: python -m bench.capture FILE."""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
from pathlib import Path

from lab.box import Box
from lab.demo import SHOWN, place_all, say


def main(target: Path) -> None:
    """Place the calls of `bin/run`, with a plain AMI client beside."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    box = Box(folder, say)
    try:
        box.start()
        (box.asterisk.etc / "pbxd_manager.conf").open("a").write(
            "[all]\nsecret=all\nread=all\nwrite=all\nwritetimeout=5000\n"
        )
        box.asterisk.command("manager reload")
        link = socket.create_connection((box.asterisk.address, 5038))
        link.sendall(b"Action: Login\r\nUsername: all\r\nSecret: all\r\n\r\n")
        stream = bytearray()

        def read() -> None:
            while data := link.recv(65536):
                stream.extend(data)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        place_all(box, SHOWN)
        link.shutdown(socket.SHUT_RDWR)
        reader.join()
        end = stream.rfind(b"\r\n\r\n") + 4
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(stream[:end])
        say(f"{len(stream)} bytes")
    finally:
        box.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
