"""Recordings after the call, as the daemon runs them: what they tell of themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lab.asterisk import wait_until
from pbxd.comms.host import CommsHost
from pbxd.recording.catalogue import CATALOGUE
from pbxd.recording.retention import Keep
from pbxd.recording.service import ArchiveSettings, RecordingService
from tests.comms.conftest import PEOPLE, settings
from tests.recording.ingesting import opened
from tests.recording.spools import recording


async def test_a_damaged_recording_is_told_of_before_the_next_look(tmp_path: Path) -> None:
    """Here no next look comes; that the first one is over is seen by the number of recordings."""
    recording(tmp_path / "spool", "good", 0.2)
    async with opened(tmp_path, "flac") as (_, _, pipeline):
        assert await pipeline.empty()
    host = CommsHost(settings(tmp_path), lambda: PEOPLE, lambda: None, [CATALOGUE])
    kept = ArchiveSettings([tmp_path / "spool"], "flac", Keep, lambda: None)
    service = RecordingService(host, kept, every=1e9)
    running = [asyncio.create_task(part.run()) for part in (host, service)]
    try:
        await asyncio.to_thread(wait_until, lambda: service.status()["recordings"] == 1, "the first look")
        assert service.status()["damaged"] == 0
        (recording(tmp_path / "spool", "bad", 0.2) / "0.rx.wav").write_bytes(b"RIFF, and no sound" * 9)
        service.notice("bad")
        await asyncio.to_thread(wait_until, lambda: service.status()["damaged"] == 1, "the alarm")
    finally:
        for task in reversed(running):
            task.cancel()
        await asyncio.wait(running)
        await host.close()
