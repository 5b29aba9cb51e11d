"""Whose a TCP socket of this machine is: the kernel's own word for the two ends of one connection (sock_diag(7)).

One question by the exact pair of addresses costs 3 to 4 µs, however many sockets there are; reading /proc/net/tcp costs more with
each. The kernel says "user 0" of a socket that is closed and lingers, so only one that is open counts: else whoever sends all that
he has to say and closes would pass for root.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import struct
from enum import Enum
from typing import Final

from pbxd.errors import AGIUnknownError

SOCK_DIAG_BY_FAMILY: Final = 20  # linux/sock_diag.h
NETLINK_SOCK_DIAG: Final = 4
ESTABLISHED: Final = 1  # linux/tcp.h
LISTEN: Final = 10
ANSWER: Final = 448  # bytes; it has 124, an error 92, and what Python gives out fast is at most 512 with its head
LENGTH: Final = 72  # struct nlmsghdr and struct inet_diag_req_v2 (linux/inet_diag.h)
HEAD: Final = struct.pack("=IHH", LENGTH, SOCK_DIAG_BY_FAMILY, 1)  # 1: NLM_F_REQUEST
NO_COOKIE: Final = b"\xff" * 8
MIDDLE: Final = {  # sender, family, protocol, no extensions, all states
    family: struct.pack("=IBBBBI", 0, family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF)
    for family in (socket.AF_INET, socket.AF_INET6)
}
QUESTION: Final = struct.Struct("!8sI12sHH16s16s4s8s")  # the number of the question is the kernel's to send back only
STATE: Final = 17  # where these stand in the answer: struct nlmsghdr and struct inet_diag_msg
OWNER: Final = struct.Struct("=80xII")  # user, inode
ERROR: Final = struct.Struct("=16xi")

End = tuple[str, int] | tuple[str, int, int, int]  # as `socket` has addresses


class Absent(Enum):
    """Why a socket has no owner."""

    CLOSED = "closed"  # it was this machine's, and is open no more
    ELSEWHERE = "elsewhere"  # this machine has none of these addresses


@functools.lru_cache(256)
def packed(address: str) -> tuple[socket.AddressFamily, bytes]:
    """An address's family and its 16 bytes as the kernel has them."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address.partition("%")[0]).ljust(16, b"\0")


class Sockets:
    """Asks. One for the daemon's life; it has one netlink socket, which it opens at the first question."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._file = -1
        self._number = 0

    def owner(self, end: End, other: End) -> int | Absent:
        """The user id of the open socket at `end` whose peer is `other`. AGIUnknownError if the kernel does not say."""
        answer = self._ask(end, other)
        if answer is None:
            return Absent.ELSEWHERE
        user, inode = OWNER.unpack_from(answer)
        if answer[STATE] != ESTABLISHED or not inode:
            return Absent.CLOSED
        return int(user)

    def probe(self, listening: End) -> None:
        """See that the kernel answers, by a socket that is there for sure: one that listens. AGIUnknownError if it does not."""
        anyone: End = ("::", 0, 0, 0) if ":" in listening[0] else ("0.0.0.0", 0)  # noqa: S104 - nothing is bound to it
        answer = self._ask(listening, anyone)
        if answer is None or answer[STATE] != LISTEN:
            raise AGIUnknownError(
                "the kernel does not tell whose a connection is, so nobody is let in: `modprobe tcp_diag`"
            )

    def _ask(self, end: End, other: End) -> bytes | None:
        """The kernel's answer; None if it knows no such socket."""
        family, own = packed(end[0])
        scope = struct.pack("=I", end[3]) if len(end) == 4 else b"\0\0\0\0"
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        question = QUESTION.pack(
            HEAD, number, MIDDLE[family], end[1], other[1], own, packed(other[0])[1], scope, NO_COOKIE
        )
        try:
            if self._socket is None:
                self._open()
            os.write(self._file, question)
            answer = os.read(self._file, ANSWER)
        except OSError as error:
            self.close()
            raise AGIUnknownError(f"sock_diag: {error.strerror}") from error
        if answer[8:12] != question[8:12]:
            self.close()
            raise AGIUnknownError("sock_diag answers another question")
        if answer[4:6] != question[4:6]:  # an error
            code = -ERROR.unpack_from(answer)[0]
            if code == errno.ENOENT:
                return None
            raise AGIUnknownError(f"sock_diag: {os.strerror(code)}")
        return answer

    def _open(self) -> None:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
        made.setblocking(False)  # the answer is there when the question is written
        made.connect((0, 0))
        self._socket, self._file = made, made.fileno()

    def close(self) -> None:
        """Let go of the netlink socket; the next question opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
