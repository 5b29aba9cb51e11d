"""Questions to the core over a real pair of sockets: whoever asks a core that is gone is told so, and does not wait for ever."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pbxd.errors import SupportError
from pbxd.uplink.support.core_link import Core

PATIENCE = 60.0  # s after which a test gives up waiting


async def test_a_core_that_is_gone_answers_nobody() -> None:
    ours, its = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    core = Core(reader, writer)
    running = asyncio.create_task(core.run())
    under_way = asyncio.create_task(core.ask("begin"))
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(its.recv, 4096)  # the question has come
        its.close()
        with pytest.raises(SupportError, match="pbxd is gone"):
            await under_way
        await running
        with pytest.raises(SupportError, match="pbxd is gone"):
            await core.ask("end")  # a session whose end comes after that of the core
    writer.close()


async def test_so_does_one_whose_answers_nobody_takes_any_more() -> None:
    """The process is told to end: it takes no more answers, and a session that ends then is not to hold it up."""
    ours, its = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    core = Core(reader, writer)
    running = asyncio.create_task(core.run())
    under_way = asyncio.create_task(core.ask("begin"))
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(its.recv, 4096)
        running.cancel()
        for asked in (under_way, core.ask("end")):
            with pytest.raises(SupportError, match="pbxd is gone"):
                await asked
    writer.close()
    its.close()
