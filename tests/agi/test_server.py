"""The server against peers of every kind: what each gets, and that others do not notice."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from pbxd.errors import AGIAppError, AGIHangup, AGISIGHUPHangup
from tests.agi.peers import STATUS, Peer, environment, serving


async def test_a_session_from_end_to_end() -> None:
    seen: list[Any] = []

    async def hello(session: Any, request: Any, _services: Any) -> None:
        seen.append(request)
        await session.answer()

    async with serving({"hello": hello}) as host:
        commands = await host.session("hello?a=1&b=x%20y", "one", "two")
        assert commands == ["ANSWER", STATUS("OK")]
        assert seen[0].query == {"a": "1", "b": "x y"}
        assert seen[0].arguments == ("one", "two")
        assert seen[0].channel == "PJSIP/101-00000001"
        assert host.server.counters.outcomes == {"OK": 1}


async def test_what_applications_raise_ends_their_own_call_only() -> None:
    async def fails(_session: Any, _request: Any, _services: Any) -> None:
        raise AGIAppError("it cannot be done")

    async def breaks(_session: Any, _request: Any, _services: Any) -> None:
        raise KeyError("a mistake of ours")

    async with serving({"fails": fails, "breaks": breaks}) as host:
        assert await host.session("fails") == [STATUS("ERROR")]
        assert await host.session("breaks") == [STATUS("ERROR")]
        assert await host.session("nothing/../there") == [STATUS("NOROUTE")]
        assert await host.session("") == [STATUS("NOROUTE")]
        await host.good()


async def test_hangup_and_eof_are_told_apart() -> None:
    raised: list[BaseException] = []

    async def plays(session: Any, _request: Any, _services: Any) -> None:
        try:
            await session.stream_file("hello")
            await session.stream_file("hello")
        except AGIHangup as error:
            raised.append(error)
            raise

    async with serving({"plays": plays}) as host:
        peer = await host.peer(environment("plays"))
        await peer.line()
        await peer.send(b"200 result=0 endpos=1\nHANGUP\n")
        assert await peer.line() == STATUS("HANGUP")  # Asterisk takes it on a dead channel: the h extension sees it
        await peer.send(b"200 result=1\n")
        assert await peer.line() == ""
        peer = await host.peer(environment("plays"))
        await peer.line()
        peer.close()
        await host.until(lambda: len(raised) == 2)
        assert [type(error).__name__ for error in raised] == ["AGISIGHUPHangup", "AGISIGPIPEHangup"]
        assert isinstance(raised[0], AGISIGHUPHangup)


async def test_silent_slow_and_garbage_peers() -> None:
    async with serving(answer_time="200ms", session_time="10s") as host:
        silent = await host.peer()
        half = await host.peer(environment("ok")[:40])
        garbage = await host.peer(b"GET / HTTP/1.1\r\n\r\n")
        flood = await host.peer(b"agi_x: " + b"x" * 200_000)
        mute = await host.peer(environment("ok"))
        mad = await host.peer(environment("ok") + b"200 result=1\n" * 5000)
        await host.good()
        assert await silent.line() == STATUS("TIMEOUT")
        assert await half.line() == STATUS("TIMEOUT")
        assert await garbage.line() in (STATUS("ERROR"), "")
        assert await flood.line() in (STATUS("ERROR"), "")  # what it still sends may cut the connection before
        assert await mute.line() == 'VERBOSE "hello" 1'
        assert await mute.line() == STATUS("TIMEOUT")
        assert await mad.line() in (STATUS("ERROR"), 'VERBOSE "hello" 1', "")
        for peer in (silent, half, garbage, flood, mute, mad):
            peer.close()
        await host.until(lambda: not host.server._links)
        assert host.server.running == 0
        await host.good()


async def test_a_peer_that_connects_and_closes_costs_nothing() -> None:
    async with serving() as host:
        for data in (b"", b"agi_", environment("ok")):
            for _ in range(20):
                peer = await host.peer(data)
                peer.close()
        await host.until(lambda: not host.server._links and not host.server.running)
        await host.good()


async def test_a_session_that_lasts_too_long_is_ended() -> None:
    async def waits(session: Any, _request: Any, _services: Any) -> None:
        await session.wait_for_digit(-1)

    async def sleeps(_session: Any, _request: Any, _services: Any) -> None:
        await asyncio.sleep(3600)

    async with serving({"waits": waits, "sleeps": sleeps}, session_time="200ms") as host:
        peer = await host.peer(environment("waits"))
        assert await peer.line() == "WAIT FOR DIGIT -1"
        assert await peer.line() == STATUS("TIMEOUT")  # Asterisk reads it when its command is over
        assert await peer.line() == ""
        assert await host.session("sleeps") == [STATUS("TIMEOUT")]


async def test_as_many_as_may_and_no_more() -> None:
    async def waits(session: Any, _request: Any, _services: Any) -> None:
        await session.wait_for_digit(-1)

    async with serving({"waits": waits}, sessions=3) as host:
        inside: list[Peer] = []
        for _ in range(3):
            inside.append(await host.peer(environment("waits")))
            assert await inside[-1].line() == "WAIT FOR DIGIT -1"
        assert await host.session("ok") == [STATUS("BUSY")]
        await inside[0].send(b"200 result=0\n")
        assert await inside[0].line() == STATUS("OK")
        await inside[0].send(b"200 result=1\n")
        await host.until(lambda: host.server.running == 2)
        await host.good()
        for peer in inside:
            peer.close()


async def test_a_thousand_at_once() -> None:
    async with serving() as host:
        peers = [await host.peer(environment("ok")) for _ in range(1000)]
        await host.until(lambda: host.server.running == 1000)
        done = await asyncio.gather(*(peer.play() for peer in peers))
        assert {commands[-1] for commands in done} == {STATUS("OK")}
        assert host.server.counters.outcomes == {"OK": 1000}


async def test_a_stop_lets_sessions_end_and_calls_go_on() -> None:
    async def waits(session: Any, _request: Any, _services: Any) -> None:
        await session.wait_for_digit(-1)

    async with serving({"waits": waits}, drain="300ms") as host:
        ends = await host.peer(environment("waits"))
        stays = await host.peer(environment("waits"))
        late = await host.peer()
        for peer in (ends, stays):
            assert await peer.line() == "WAIT FOR DIGIT -1"
        stop = asyncio.create_task(host.server.drain())
        await host.until(lambda: host.server.draining)
        await ends.send(b"200 result=49\n")
        assert await ends.line() == STATUS("OK")
        await ends.send(b"200 result=1\n")
        await late.send(environment("ok"))
        assert await late.line() == STATUS("STOPPED")
        assert await stays.line() == STATUS("STOPPED")
        await stop
        with pytest.raises(OSError, match=r"Connect|connect"):
            await asyncio.open_connection("127.0.0.1", int(ends.writer.get_extra_info("peername")[1]))
        for peer in (ends, stays, late):
            peer.close()


async def test_a_command_whose_wait_was_cancelled_does_not_shift_the_answers() -> None:
    got: list[str] = []

    async def hurries(session: Any, _request: Any, _services: Any) -> None:
        try:
            async with asyncio.timeout(0.05):
                await session.stream_file("long")
        except TimeoutError:
            got.append(await session.get_variable("X"))

    async with serving({"hurries": hurries}) as host:
        peer = await host.peer(environment("hurries"))
        assert (await peer.line()).startswith("STREAM FILE")
        await asyncio.sleep(0.1)
        await peer.send(b"200 result=0 endpos=5\n")
        asked = await peer.line()
        mark = asked.partition("${X}")[2].rstrip('"').encode()
        await peer.send(b"200 result=1 (right" + mark + b")\n")
        assert await peer.line() == STATUS("OK")
        assert got == ["right"]
        peer.close()


async def test_a_port_that_is_taken_is_tried_again() -> None:
    async with serving() as first:
        host, _, port = first.server.listening[0].rpartition(":")
        async with serving() as second:
            second.server._stop_listening()
            second.server.services.config = second.server.services.config.model_copy(
                update={"listen": f"{host}:{port}"}
            )
            again = asyncio.create_task(second.server._listen_in_the_end())
            await second.until(lambda: "in use" in second.server.last_error)
            first.server._stop_listening()
            await again
            await second.good()


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agi.sock"
    async with serving(socket=str(path)) as host:
        assert str(path) in host.server.listening
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        peer = Peer(*await asyncio.open_unix_connection(str(path)))
        await peer.send(environment("ok"))
        assert (await peer.play())[-1] == STATUS("OK")
