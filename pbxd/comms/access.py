"""The door to communications: who asks is looked up, what is asked is decided, and written into the audit before it is done."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from typing import Any

import structlog

from pbxd.comms.audit import Audit
from pbxd.comms.people import Action, Directory, Person, Thing, may
from pbxd.errors import AccessRefused

log = structlog.get_logger("pbxd.access")


class Access:
    """Decides, and writes down."""

    def __init__(self, audit: Audit, people: Callable[[], Directory]) -> None:
        self.audit = audit
        self._people = people

    @property
    def people(self) -> Directory:
        """Those that the configuration in force names."""
        return self._people()

    def caller(self, uid: int) -> Person:
        """Who a user of this machine is. A user without a name is nobody."""
        try:
            login = pwd.getpwuid(uid).pw_name
        except KeyError:
            login = f"uid {uid}"
        return self.people.by_login("root" if uid == 0 else login)

    async def claim(
        self, who: Person, action: Action, thing: Thing, *, via: str = "control", detail: dict[str, Any] | None = None
    ) -> None:
        """Return if `who` may, when that is in the audit log. AccessRefused if not, also in it; CommsError if it cannot be."""
        decision = may(who, action, thing)
        await self.audit.record(
            who, action, thing.kind, thing.id, allowed=decision.allowed, reason=decision.reason, via=via, detail=detail
        )
        if not decision.allowed:
            log.warning(
                "refused", who=who.name, action=action, kind=thing.kind, subject=thing.id, reason=decision.reason
            )
            raise AccessRefused(f"{who.name} may not {decision.reason}")

    def sees(self, who: Person, thing: Thing) -> bool:
        """Whether it is in a listing for `who`; listings are not in the audit."""
        return may(who, "see", thing).allowed
