"""What the vendor may ask of this box, wired to one another: support tickets, proposed changes, messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from pbxd.uplink import administration, messages
from pbxd.uplink.administration import Administration
from pbxd.uplink.enrolment import Enrolment
from pbxd.uplink.messages import Messages
from pbxd.uplink.outbox import DOWN, SUPPORT
from pbxd.uplink.support import clerk
from pbxd.uplink.support.clerk import Clerk
from pbxd.uplink.support.desk import Desk, Ledger
from pbxd.uplink.witness import dispute

LOOK = 2.0  # s between looks for messages


class Host(clerk.Host, administration.Host, Protocol):
    """The daemon."""


class Uplink(Ledger, messages.Ledger, Protocol):
    """The rest of the uplink."""

    @property
    def enrolment(self) -> Enrolment | None:
        """This box's place with the vendor."""

    @property
    def on(self) -> bool:
        """Whether the link may run."""


class Reception:
    """The services. Each is kept running by the daemon."""

    def __init__(
        self,
        host: Host,
        uplink: Uplink,
    ) -> None:
        self.uplink = uplink
        rules = host.config.uplink
        self.outbox: Path = rules.outbox
        self.administration = Administration(host)
        self.messages = Messages(
            rules.support,
            self.administration,
            uplink,
            lambda: host.config.uplink,
            checkpoint=lambda size, root: dispute(self.outbox, size, root),
        )
        self.desk = Desk(Clerk(host, self.administration), uplink, self._authority, socket=self.outbox / SUPPORT)

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is to be kept running, by name."""
        return {"support": self.desk.run, "proposals": self.administration.settle, "messages": self._collect}

    def status(self) -> dict[str, Any]:
        """How it stands."""
        proposals = self.administration.proposals.all()
        return {
            **self.desk.status(),
            "proposals_waiting": sum(one.state == "asked" for one in proposals),
            "proposals_in_force": sum(one.state == "applied" for one in proposals),
            "disputed": self.messages.disputed,
            "messages_refused": self.messages.refused,
        }

    def _authority(self) -> str | None:
        found = self.uplink.enrolment
        return None if found is None else found.support_ca

    async def _collect(self) -> None:
        """Take messages as they come, once the box is enrolled."""
        while True:
            if (enrolment := self.uplink.enrolment) is not None:
                await self.messages.collect(self.outbox / DOWN, enrolment)
            await asyncio.sleep(LOOK)
