"""A part that fails is started again."""

from __future__ import annotations

from pbxd.supervise import supervise


async def test_a_part_that_fails_is_started_again() -> None:
    starts = []

    async def part() -> None:
        starts.append(1)
        if len(starts) < 3:
            raise RuntimeError("a mistake")

    await supervise("part", part, first=0.001)
    assert len(starts) == 3
