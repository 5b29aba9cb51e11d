"""Between the core and the process that holds a ticket's sessions: a question and an answer, a line of JSON each.

Only that process asks. It knows nothing that it was not told: the core decides who comes in, writes the ledger, answers the words.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from pbxd.errors import PbxdError, SupportError

LONGEST = 8 * 1024**2  # bytes of a line: all metrics, or the whole configuration
GONE = "pbxd is gone"
Answerer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Core:
    """The core, as the process with the sessions sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._gone = False

    async def ask(self, question: str, /, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """The core's answer. SupportError if it says no, or is gone."""
        if self._gone:
            raise SupportError(GONE)
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(json.dumps({"n": number, "ask": question, "facts": facts}).encode() + b"\n")
        answer = await future
        if "error" in answer:
            raise SupportError(str(answer["error"]))
        return answer

    async def run(self) -> None:
        """Take answers until the core is gone."""
        try:
            while line := await self._reader.readline():
                answer = json.loads(line)
                if not (future := self._waiting.pop(answer["n"])).done():
                    future.set_result(answer["answer"])
        finally:
            self._gone = True
            for future in self._waiting.values():
                if not future.done():
                    future.set_result({"error": GONE})


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answerer) -> None:
    """Answer, in the core, until the other end is gone. An error of ours goes back as the answer; others are ours to mend."""
    while line := await reader.readline():
        asked = json.loads(line)
        try:
            given = await answer(asked["ask"], asked["facts"])
        except PbxdError as error:
            given = {"error": str(error)}
        writer.write(json.dumps({"n": asked["n"], "answer": given}).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it is gone: readline will say so
            await writer.drain()
