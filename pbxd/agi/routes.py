"""From `agi://host/NAME` to the application of that name, and what applications may use.

An application is an async callable `(session, request, services) -> None` in a file of its own. It talks to the call by the
session's verbs, leaves its outcome in channel variables `PBXD_…`, and returns: the dialplan goes on. What it raises becomes
`PBXD_STATUS`; it needs to catch nothing. To add one: write the file, add a line to `ROUTES`, its subroutine to
`asterisk.dialplan`, and its example to docs/dialplan.md. What it needs of other parts becomes a field of `Services`, which
the daemon fills.
"""

from __future__ import annotations

from collections.abc import Mapping

from pbxd.agi import agent, announce, chat, directory, greeting, lookup, payment, record, route
from pbxd.agi.application import Application

ROUTES: dict[str, Application] = {
    "agent": agent.agent,
    "announce": announce.announce,
    "chat": chat.chat,
    "directory": directory.directory,
    "greeting": greeting.greeting,
    "lookup": lookup.lookup,
    "payment": payment.payment,
    "record": record.record,
    "route": route.route,
}


class Routes:
    """Applications by name."""

    def __init__(self, table: Mapping[str, Application] = ROUTES) -> None:
        self._table = dict(table)

    def add(self, name: str, application: Application) -> None:
        """One more; ValueError if the name is taken."""
        if name in self._table:
            raise ValueError(f"the route {name} is taken")
        self._table[name] = application

    def find(self, name: str) -> Application | None:
        """The application of that name."""
        return self._table.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._table)
