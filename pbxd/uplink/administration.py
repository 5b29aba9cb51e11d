"""What becomes of a proposed change: checked, shown, applied when the customer says so, looked at, taken back if it does harm.

asked -> trial -> applied -> undone        and from trial -> rolled-back, by pbxd itself
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from pbxd.config.load import Loaded, load_with_notes
from pbxd.config.overlay import Change, difference, file_of, refused
from pbxd.config.schema import Config, changed
from pbxd.config.shown import HIDDEN
from pbxd.errors import ConfigError, PbxdError, ProposalError
from pbxd.uplink.files import write_whole
from pbxd.uplink.proposals import IN_FORCE, Proposal, Proposals, new

log = structlog.get_logger("pbxd.proposals")
RANK = {"ok": 0, "warning": 1, "fault": 2}  # of the doctor's findings
OWN_CHECKS = ("support", "uplink")  # they tell of proposals themselves
LOOK = 0.5  # s between looks at the health of a change
SETTLE = 60.0  # s after a start within which a change that waited for it has to be healthy
MOST_WAITING = 100  # proposals that wait for an answer; more are refused


class Host(Protocol):
    """The daemon, as far as it is needed here."""

    path: Path
    config: Config
    credentials: Path | None

    async def reload(self) -> list[str]:
        """Read the configuration again. ConfigError if it has mistakes."""

    async def doctor(self) -> list[dict[str, str]]:
        """Findings: check, state, detail."""

    @property
    def asterisk_connected(self) -> bool:
        """Whether the AMI session is up."""


def worse(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Checks of the doctor that stand worse than before; one that was not there before counts as good."""
    return sorted(
        check
        for check, state in after.items()
        if check not in OWN_CHECKS and RANK[state] > RANK[before.get(check, "ok")]
    )


class Administration:
    """Proposals, and the configuration that they change."""

    def __init__(self, host: Host, clock: Callable[[], float] = time.time) -> None:
        self._host, self._clock = host, clock
        self.proposals = Proposals(host.config.uplink.support)
        self._file = host.config.uplink.accepted
        self._turn = asyncio.Lock()  # one change at a time

    async def propose(self, source: str, by: str, reason: str, changes: tuple[Change, ...]) -> Proposal:
        """Take a proposal: checked, and kept for the customer to answer. ProposalError if there are too many."""
        if sum(one.state == "asked" for one in self.proposals.all()) >= MOST_WAITING:
            raise ProposalError(f"{MOST_WAITING} proposals wait for the customer's answer: no more are taken")
        made = new(source, by, reason, changes, self._clock())
        if self._host.config.uplink.proposals == "refuse":
            return self.proposals.keep(made, state="refused", why="uplink.proposals is refuse", answered_by="pbxd")
        return await self.look(made)

    def proposed(self, source: str) -> Proposal | None:
        """What was proposed from there before: a message may be taken twice, if pbxd was killed in between."""
        return next((one for one in self.proposals.all() if one.source == source), None)

    async def look(self, proposal: Proposal) -> Proposal:
        """Check one that waits against the configuration as it stands now, and say what it would change."""
        try:
            loaded = await self._tried([*self.proposals.in_force(), proposal])
        except ConfigError as error:
            return self.proposals.keep(proposal, state="invalid", why="\n".join(error.problems), answered=self._clock())
        lines = difference(self._host.config, loaded.config, hidden=HIDDEN)
        waits = [key for key in changed(self._host.config, loaded.config)[1] if self._touches(proposal, key)]
        return self.proposals.keep(proposal, difference=tuple(lines), waits=tuple(waits))

    async def accept(self, name: str, by: str) -> Proposal:
        """Apply it; it stays only if the box is no worse with it. ProposalError if it cannot be applied."""
        async with self._turn:
            proposal = self._standing(name, ("asked",), "accepted")
            proposal = await self.look(proposal)
            if proposal.state == "invalid":
                raise ProposalError(f"the configuration does not take it any more:\n{proposal.why}")
            before, connected = await self._health(), self._host.asterisk_connected
            order = max((one.order for one in self.proposals.in_force()), default=0) + 1
            trial = self.proposals.keep(
                proposal, state="trial", answered=self._clock(), answered_by=by, health=before, order=order
            )
            try:
                await self._apply()
            except PbxdError as error:
                self.proposals.keep(trial, state="rolled-back", why=f"it could not be applied: {error}")
                raise ProposalError(f"it could not be applied, and is not: {error}") from error
            harm = await self._harm(before, connected=connected, within=self._host.config.uplink.health_wait)
            if harm:
                return await self._take_back(trial, harm)
            log.info("a proposed change is in force", proposal=name, by=by)
            return self.proposals.keep(trial, state="applied", why="")

    def refuse(self, name: str, by: str) -> Proposal:
        """Say no."""
        proposal = self._standing(name, ("asked",), "refused")
        return self.proposals.keep(proposal, state="refused", answered=self._clock(), answered_by=by)

    async def undo(self, name: str, by: str) -> Proposal:
        """Take one that is in force back. ProposalError if the configuration would have mistakes without it."""
        async with self._turn:
            proposal = self._standing(name, IN_FORCE, "taken back")
            try:
                await self._tried([one for one in self.proposals.in_force() if one.id != name])
            except ConfigError as error:
                raise ProposalError(
                    "without it the configuration has mistakes:\n" + "\n".join(error.problems)
                ) from error
            undone = self.proposals.keep(
                proposal, state="undone", why=f"by {by}", answered=self._clock(), answered_by=by
            )
            try:
                await self._apply()
            except PbxdError as error:
                self.proposals.keep(proposal)
                raise ProposalError(f"it could not be taken back: {error}") from error
            log.info("a proposed change is taken back", proposal=name, by=by)
            return undone

    async def settle(self) -> None:
        """After a start: what was on trial when pbxd stopped is taken back, what waited for the start is looked at."""
        async with self._turn:
            for one in self.proposals.in_force():
                if one.state == "trial":
                    await self._take_back(one, "pbxd stopped while it was on trial")
                elif one.waits:
                    harm = await self._harm(one.health, connected=one.health.get("ami") == "ok", within=SETTLE)
                    if harm:
                        await self._take_back(one, f"{harm}; start pbxd again for it to go")
                    else:
                        self.proposals.keep(one, waits=())

    def _standing(self, name: str, states: tuple[str, ...], what: str) -> Proposal:
        proposal = self.proposals.find(name)
        if proposal.state not in states:
            raise ProposalError(f"proposal {name} is {proposal.state}: it cannot be {what}")
        return proposal

    def _touches(self, proposal: Proposal, key: str) -> bool:
        return any(change.path == key or change.path.startswith(f"{key}.") for change in proposal.changes)

    async def _tried(self, proposals: list[Proposal]) -> Loaded:
        """The configuration with exactly these proposals. ConfigError if it has mistakes, or one is not to be proposed."""
        own = [change.path for one in proposals for change in one.changes if refused(change.path)]
        if own:
            raise ConfigError([f"{path}: it is for you alone to set; it cannot be proposed" for path in own])
        trial = self._file.with_name(self._file.name + ".try")
        write_whole(trial, file_of([(one.title, list(one.changes)) for one in proposals]))
        try:
            return await asyncio.to_thread(
                load_with_notes, self._host.path, credentials=self._host.credentials, accepted=trial
            )
        except ConfigError as error:
            raise ConfigError([problem.replace(str(trial), str(self._file)) for problem in error.problems]) from error
        finally:
            trial.unlink(missing_ok=True)

    async def _apply(self) -> None:
        """Put the file of what is in force in its place, and reload. If that is refused, the file is as before."""
        old = self._file.read_text(encoding="utf-8") if self._file.exists() else None
        write_whole(self._file, file_of([(one.title, list(one.changes)) for one in self.proposals.in_force()]))
        try:
            await self._host.reload()
        except ConfigError:
            if old is None:
                self._file.unlink()
            else:
                write_whole(self._file, old)
            raise

    async def _take_back(self, proposal: Proposal, why: str) -> Proposal:
        """Take one on trial out of the configuration again."""
        log.warning("a proposed change is taken back by itself", proposal=proposal.id, why=why)
        kept = self.proposals.keep(proposal, state="rolled-back", why=why)
        await self._apply()
        return kept

    async def _health(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for finding in await self._host.doctor():
            check, state = finding["check"], finding["state"]
            found[check] = max(found.get(check, "ok"), state, key=RANK.__getitem__)
        return found

    async def _harm(self, before: dict[str, str], *, connected: bool, within: float) -> str:
        """What is worse than before; empty if nothing is, or if it mends itself within some seconds."""
        deadline = time.monotonic() + within
        while True:
            bad = worse(before, await self._health())
            lost = connected and not self._host.asterisk_connected
            if not bad and not lost:
                return ""
            if time.monotonic() >= deadline:
                return (
                    "Asterisk is not connected any more"
                    if lost
                    else f"the doctor finds worse than before: {', '.join(bad)}"
                )
            await asyncio.sleep(LOOK)
