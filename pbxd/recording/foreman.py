"""Keeps the worker: starts it when there is work, gives it one job at a time, and lets it go when there is none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from pbxd.errors import CommsFull, RecordingDamaged, RecordingError

LONGEST_ANSWER = 65_536  # bytes
JOB_LIMIT = 3600.0  # s; a day of sound takes a quarter of an hour, a worker that is stuck takes forever


class WorkerDied(RecordingError):
    """The worker ended in the middle of a job: it was killed from outside, or (`failed`) the sound may have made it fail."""

    def __init__(self, message: str, *, failed: bool) -> None:
        super().__init__(message)
        self.failed = failed


class Foreman:
    """One worker at most."""

    def __init__(self) -> None:
        self._process: Process | None = None

    async def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """Have a job done; see `worker`. RecordingDamaged, CommsFull, WorkerDied or RecordingError if it was not."""
        if self._process is not None and self._process.returncode is not None:
            await self.dismiss()  # it was killed while it had nothing to do
        process = self._process or await self._start()
        if process.stdin is None or process.stdout is None:
            raise RecordingError("the worker has no pipes")
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
            async with asyncio.timeout(JOB_LIMIT):
                line = await process.stdout.readline()
            answer: dict[str, Any] = json.loads(line) if line else {}
        except TimeoutError as error:
            await self.dismiss()
            raise WorkerDied(f"it took more than {JOB_LIMIT:.0f} s", failed=True) from error
        except (OSError, ValueError, RuntimeError):  # RuntimeError: what uvloop calls a pipe whose other end is gone
            answer = {}
        except BaseException:
            await self.dismiss()  # what it would answer now belongs to nobody
            raise
        if not answer:
            code = await self.dismiss()
            raise WorkerDied(f"the encoder ended ({code})", failed=code != -signal.SIGKILL)
        if "error" in answer:
            raise _error(answer)
        return answer

    async def _start(self) -> Process:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # numpy would make threads, with memory each
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pbxd.recording.worker", str(os.getpid()),
            stdin=PIPE, stdout=PIPE, env=environment, limit=LONGEST_ANSWER,
        )  # fmt: skip
        return self._process

    async def dismiss(self) -> int | None:
        """End the worker; what it had begun is done again. Its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    @property
    def pid(self) -> int | None:
        """The worker's process, if there is one."""
        return None if self._process is None else self._process.pid


def _error(answer: dict[str, Any]) -> Exception:
    kinds: dict[str, type[Exception]] = {"damaged": RecordingDamaged, "full": CommsFull}
    return kinds.get(answer.get("kind", ""), RecordingError)(str(answer["error"]))


async def decoder(descriptor: int, start: float) -> Process:
    """A process that decodes the file behind a descriptor to WAV, from `start` seconds on, on its `stdout`."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pbxd.recording.decode", str(os.getpid()), str(start),
        stdin=descriptor, stdout=PIPE, stderr=PIPE, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip


def job(folder: Path, codec: str, recipient: str, target: Path) -> dict[str, Any]:
    """What the worker is told."""
    return {"folder": str(folder), "codec": codec, "recipient": recipient, "target": str(target)}
