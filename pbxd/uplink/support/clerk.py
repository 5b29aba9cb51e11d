"""Answers the words of a session, in the core: how the box stands, and proposals. Nothing that a word asks changes anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from pbxd.config.overlay import Change, parse_value, printable
from pbxd.config.schema import Config
from pbxd.errors import ConfigError, SupportError
from pbxd.uplink.administration import Administration
from pbxd.uplink.support import views
from pbxd.uplink.support.ticket import Ticket
from pbxd.uplink.support.words import CHANGING, Command, vocabulary
from pbxd.uplink.vocabulary import LONGEST_LINE
from pbxd.uplink.vocabulary import path as vocabulary_path
from pbxd.uplink.vocabulary import plain as vocabulary_value


class Host(Protocol):
    """The daemon, as far as it is needed here."""

    config: Config

    def status(self) -> dict[str, Any]:
        """State of every part."""

    def live(self) -> dict[str, Any]:
        """Calls in progress, queues and endpoints."""

    async def doctor(self) -> list[dict[str, str]]:
        """Findings."""

    def doctor_words(self) -> Collection[str]:
        """Every word that is the doctor's own."""

    def metrics(self) -> bytes:
        """All metrics."""


class Clerk:
    """Who answers."""

    def __init__(self, host: Host, administration: Administration) -> None:
        self.host, self._administration = host, administration

    async def answer(self, ticket: Ticket, person: str, command: Command) -> str:
        """The answer as text. SupportError if the ticket's scope does not have the word, or there is no answer."""
        if command.word not in vocabulary(ticket.scope):
            raise SupportError(f"{command.word}: there is no such word here")
        if command.word in CHANGING:
            return await self._change(ticket, person, command)
        found = self._looking(ticket)[command.word]
        return await found(*command.arguments)

    def _looking(self, ticket: Ticket) -> dict[str, Callable[..., Awaitable[str]]]:
        async def words() -> str:
            return "\n".join(f"{name:10} {text}" for name, text in vocabulary(ticket.scope).items())

        async def status() -> str:
            return views.status(self.host.status())

        async def doctor() -> str:
            return views.doctor(await self.host.doctor(), self.host.doctor_words())

        async def metrics() -> str:
            return self.host.metrics().decode()

        async def live() -> str:
            return views.live(self.host.live(), self.host.config.site.trunks)

        async def config(prefix: str = "") -> str:
            return views.config(self.host.config, prefix)

        async def leave() -> str:
            return ""

        return {
            "help": words, "status": status, "doctor": doctor, "metrics": metrics, "live": live, "config": config,
            "exit": leave,
        }  # fmt: skip

    async def _change(self, ticket: Ticket, person: str, command: Command) -> str:
        source = f"ticket {ticket.id}"
        if command.word == "proposals":
            own = [one for one in self._administration.proposals.all() if one.source == source]
            paths = {one.id: ", ".join(change.path for change in one.changes) for one in own}
            return "\n".join(f"{one.id} {one.state} {paths[one.id]}" for one in own) or "nothing was proposed"
        path, text, *reason = command.arguments
        try:
            change = Change(path, parse_value(text))
            vocabulary_path(change.path)
            vocabulary_value(change.value)
        except (ConfigError, ValueError) as error:
            raise SupportError(f"propose: {error}") from error
        made = await self._administration.propose(source, person, printable(" ".join(reason))[:LONGEST_LINE], (change,))
        if made.state != "asked":  # why is for the customer to read: it may quote the configuration
            raise SupportError(
                f"proposal {made.id} is {made.state}; the customer sees why: pbxctl uplink proposal show {made.id}"
            )
        return f"proposal {made.id} waits for the customer's answer\n{views.change(self.host.config, (change,))}"
