"""The door of the control API: before a route is run, who asks is looked up, what they may is decided, and it is put down.

It stands before all routes and knows them by its table (`roles`), so that a new route is closed until somebody enters it there.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from pbxd.comms.people import SYSTEM, Decision, Directory, Person
from pbxd.control.caller import uid_of
from pbxd.control.roles import OWNERS, decide, rule_of
from pbxd.errors import AccessRefused, CommsError, ControlError, PbxdError

if TYPE_CHECKING:  # a daemon that keeps nothing does without
    from pbxd.comms.host import CommsHost

LONGEST = 200  # characters of a subject, and of each parameter, in the audit log
log = structlog.get_logger("pbxd.access")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request at the door: who asks, and where it is put down."""

    who: Person
    audit: Callable[[], CommsHost | None]

    async def claim(
        self, action: str, kind: str, subject: str, decision: Decision, detail: dict[str, Any], *, urgent: bool = False
    ) -> None:
        """Put the decision down: into the audit log, where there is one, and the log. AccessRefused if it is no.

        CommsError, and it is not to be done, if the audit log cannot be written. What is `urgent` is done nevertheless, and what
        the box's owner asks for: a store that is broken must not keep root from mending the box.
        """
        said = {
            "who": self.who.name,
            "action": action,
            "kind": kind,
            "subject": subject[:LONGEST],
            "reason": decision.reason,
        }
        (log.info if decision.allowed else log.warning)("done" if decision.allowed else "refused", **said)
        host = self.audit()
        try:
            if host is not None:
                await host.store.audit.record(
                    self.who,
                    action,
                    kind,
                    subject[:LONGEST],
                    allowed=decision.allowed,
                    reason=decision.reason,
                    detail=detail,
                )
        except CommsError as error:
            if decision.allowed and not urgent and self.who.role not in OWNERS:
                raise
            log.error("not in the audit log", **said, error=str(error))
        if not decision.allowed:
            raise AccessRefused(f"{self.who.name} may not {decision.reason}")


def asked_of(request: Request) -> Asked:
    """What the door found of this request. ControlError if it did not come through the door."""
    found = getattr(request.state, "asked", None)
    if not isinstance(found, Asked):
        raise ControlError("it is not known who asks")
    return found


class Door:
    """ASGI middleware: nothing but requests whose caller may make them gets to the routes."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        people: Callable[[], Directory],
        audit: Callable[[], CommsHost | None],
    ) -> None:
        self._app = app
        self._routes = tuple(routes)
        self._people = people
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it through, or answer 403; 400 if it cannot be put down that it was asked."""
        if scope["type"] != "http":
            return  # there is nothing else here
        request = Request(scope)
        try:
            for route in self._routes:
                match, more = route.matches(scope)
                if match is Match.FULL:
                    asked = await self._let_in(request, getattr(route, "path", ""), more.get("path_params", {}))
                    scope.setdefault("state", {})["asked"] = asked
                    break
        except PbxdError as error:
            status = 403 if isinstance(error, AccessRefused) else 400
            await JSONResponse({"error": str(error)}, status_code=status)(scope, receive, send)
            return
        await self._app(scope, receive, send)  # a path or method that is not there is told so

    async def _let_in(self, request: Request, template: str, named: Mapping[str, Any]) -> Asked:
        asked = Asked(self._who(uid_of(request)), self._audit)
        rule = rule_of(request.method, template)
        decision = decide(asked.who, rule)
        if not decision.allowed or (rule.noted and not rule.by_thing):
            subject = "/".join(str(value) for value in named.values()) or ("" if rule.roles else template)
            detail = {name: value[:LONGEST] for name, value in request.query_params.items()}
            await asked.claim(rule.action, rule.kind, subject, decision, detail, urgent=rule.urgent)
        return asked

    def _who(self, uid: int) -> Person:
        """Who a user of this machine is: root, pbxd itself, a person, or nobody that `people` names."""
        if uid == os.geteuid() != 0:
            return SYSTEM
        try:
            login = pwd.getpwuid(uid).pw_name
        except KeyError:
            login = f"uid {uid}"
        return self._people().by_login("root" if uid == 0 else login)
