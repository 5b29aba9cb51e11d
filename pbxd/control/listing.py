"""Listings: a line of JSON each, and at the end, for whoever asks, how many there are beside those that were asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse


async def lines(values: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Each value as a line of JSON."""
    async for value in values:
        yield json.dumps(value, ensure_ascii=False).encode() + b"\n"


def listing(request: Request, values: AsyncIterator[Any], limit: int, total: Callable[[], Awaitable[int]]) -> Response:
    """The answer with `values`, which were cut off at `limit`. With `count=1` a last line `{"total": n}` follows if they were.

    To count may take longer than to list: it is only done when it has to be told.
    """

    async def counted() -> AsyncIterator[bytes]:
        shown = 0
        async for line in lines(values):
            yield line
            shown += 1
        if shown >= limit and request.query_params.get("count") == "1":
            yield json.dumps({"total": await total()}).encode() + b"\n"

    return StreamingResponse(counted(), media_type="application/x-ndjson")
