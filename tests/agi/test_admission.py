"""Who may speak AGI: real users of the machine, real connections; whose they are is what the kernel says."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from pbxd import doctor
from pbxd.agi.admission import known, user_id
from pbxd.agi.owner import Absent, Sockets
from pbxd.errors import AGIUnknownError
from tests.agi.peers import Host, environment, serving

NOBODY = pwd.getpwnam("nobody")
FORGERY = environment("ok")
AS_SOMEBODY = """
import os, socket, sys, encodings.idna
os.setgroups([]); os.setgid({gid}); os.setuid({uid})
s = socket.create_connection(("127.0.0.1", {port}))
try:
    s.sendall({data!r})
    print(s.recv(1000))
except ConnectionError:
    print("refused")
"""


@asynccontextmanager
async def guarded(**keys: object) -> AsyncIterator[tuple[Host, int]]:
    """A server, and its port."""
    async with serving(**keys) as host:  # type: ignore[arg-type]
        yield host, int(host.server.listening[0].rpartition(":")[2])


async def said_by(user: pwd.struct_passwd, port: int) -> str:
    """What a process of that user hears who speaks AGI."""
    code = AS_SOMEBODY.format(uid=user.pw_uid, gid=user.pw_gid, port=port, data=FORGERY)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    return (await process.communicate())[0].decode().strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_refused_and_told_of_once() -> None:
    with capture_logs() as logs:
        async with guarded() as (host, port):
            for _ in range(3):
                assert await said_by(NOBODY, port) in ("refused", "b''")
            await host.good()
            found = host.server.status()
    assert [line["who"] for line in logs if "who" in line] == ["user nobody"]
    assert (found["refused"], found["last_refused"], found["sessions"]) == (3, "user nobody", 1)
    finding = doctor.agi(found)
    assert (finding.state, "user nobody" in finding.detail) == ("warning", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["nobody", str(NOBODY.pw_uid)])
async def test_the_users_of_the_configuration_are_let_in(name: str) -> None:
    async with guarded(users=[name, "no-such-user"]) as (host, port):
        assert "VERBOSE" in await said_by(NOBODY, port)
        assert "user no-such-user (there is none)" in host.server.status()["may_speak"]


@pytest.mark.parametrize("rudely", [False, True])
async def test_who_says_it_all_and_closes_passes_for_nobody(rudely: bool) -> None:
    """The kernel says that a closed socket is root's."""
    async with guarded() as (host, port):
        peer = socket.create_connection(("127.0.0.1", port))
        if rudely:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.sendall(FORGERY + b"200 result=0\n" * 2)
        peer.close()  # before the server's loop has had a turn
        await host.until(lambda: host.server.counters.refused == 1)
        assert host.server.counters.sessions == 0
        await host.good()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        far, _ = server.accept()
        with far:
            yield near, far


def test_what_the_kernel_knows(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    sockets = Sockets()
    assert sockets.owner(near.getsockname(), near.getpeername()) == os.geteuid()
    assert sockets.owner(far.getsockname(), far.getpeername()) == os.geteuid()
    assert sockets.owner(("127.0.0.1", 1), far.getsockname()) is Absent.ELSEWHERE
    assert sockets.owner(("192.0.2.1", 40000), far.getsockname()) is Absent.ELSEWHERE
    ends = near.getsockname(), near.getpeername()
    near.close()
    assert sockets.owner(*ends) is Absent.CLOSED
    sockets.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_what_the_kernel_knows_of_ipv6() -> None:
    sockets = Sockets()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        sockets.probe(server.getsockname())
        with socket.create_connection(server.getsockname()[:2]) as near:
            assert sockets.owner(near.getsockname(), near.getpeername()) == os.geteuid()
    sockets.close()


def test_a_kernel_that_does_not_tell_is_noticed(pair: tuple[socket.socket, socket.socket]) -> None:
    """Asked for a socket that is not there, as if its part for TCP were missing: the same answer."""
    sockets = Sockets()
    with pytest.raises(AGIUnknownError, match="modprobe tcp_diag"):
        sockets.probe(("127.0.0.1", 1))
    sockets.close()
    assert sockets.owner(pair[0].getsockname(), pair[0].getpeername()) == os.geteuid()
    sockets.close()


def test_other_hosts_are_known_by_their_address() -> None:
    assert known("10.0.0.7", ("10.0.0.7/32",))
    assert known("10.0.0.7", ("192.0.2.1/32", "10.0.0.0/24"))
    assert not known("10.0.1.7", ("10.0.0.0/24",))
    assert not known("10.0.0.7", ())
    assert not known("::1", ("0.0.0.0/0",))
    assert user_id("4711") == 4711
    assert user_id("no-such-user") is None
