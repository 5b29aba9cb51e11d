"""Has a process of its own carry out a job: what draws, composes and sends is never loaded by the daemon.

The job goes by standard input; the process says on its standard output, as one line of JSON, what came of it:
{"result": "sent" | "already" | "deferred" | "refused" | "failed", "refused": {address: reason}, "error": text}.
Its exit code says it too (sysexits.h).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

EXIT = {"sent": 0, "already": 0, "failed": 65, "deferred": 75, "refused": 77}  # EX_DATAERR, EX_TEMPFAIL, EX_NOPERM
STOP = 5.0  # s that a delivery under way has at our stop: its mail may just be being taken


def outcome(result: str, *, refused: dict[str, str] | None = None, error: str = "") -> dict[str, Any]:
    """What came of a job."""
    return {"result": result, "refused": refused or {}, "error": error}


def tell(found: dict[str, Any]) -> int:
    """Say on standard output what came of a job; the exit code. For the process that carried it out."""
    try:
        print(json.dumps(found, ensure_ascii=False), flush=True)
    except BrokenPipeError:  # the daemon is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT[found["result"]]


async def send_out(
    module: str, job: bytes, limit: float, *arguments: str, env: Mapping[str, str] | None = None, stop: float = STOP
) -> dict[str, Any]:
    """Run `python -m module arguments` with the job; what it says came of it. `limit` is in seconds.

    When it is cancelled, the process has `stop` seconds to end by itself.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=os.environ | (env or {}),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    talk = asyncio.ensure_future(process.communicate(job))
    try:
        async with asyncio.timeout(limit):
            said, complaint = await asyncio.shield(talk)
    except asyncio.CancelledError:
        await asyncio.wait([talk], timeout=stop)
        raise
    except TimeoutError:
        return outcome("failed", error=f"it took more than {limit:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()
            await talk
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        return outcome("failed", error=f"the process ended with {process.returncode}: {last[:300]}")
    return found


async def seen_through(sending: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Wait for a mail and the note of what came of it. A stop gives it a moment: what the server takes just then is noted."""
    task = asyncio.ensure_future(sending)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=STOP)
        task.cancel()
        await asyncio.wait([task])
        raise
