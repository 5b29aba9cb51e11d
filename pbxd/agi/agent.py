"""`agent?do=login|logout|pause|unpause`: agents of queues, by PIN.

By the dialplan's applications (AddQueueMember and its kin) over EXEC: they need no right in AMI at all, where QueueAdd
needs the class `agent`. `agent=` names the agent, else the number is asked for; `reason=` names why a pause, else the key
is asked for. Sets `PBXD_AGENT` and `PBXD_AGENT_STATE` (`loggedin`, `loggedout`, `paused`, `unpaused`, `refused`,
`notmember`).
"""

from __future__ import annotations

import hmac
import re

from pbxd.agi.application import Services
from pbxd.agi.prompts import ask, choose, play
from pbxd.agi.session import Request, Session
from pbxd.config.agi import Agent
from pbxd.errors import AGIAppError, AGIUsageError

DEEDS = ("login", "logout", "pause", "unpause")
TRIES = 3  # in one call
INTERFACE = re.compile(r"([A-Za-z0-9]+/[A-Za-z0-9@._/-]+)-[0-9a-f]{8}")
DONE = {"ADDED", "MEMBERALREADY", "REMOVED", "NOTINQUEUE", "PAUSED", "UNPAUSED", "NOTDYNAMIC"}


async def agent(session: Session, request: Request, services: Services) -> None:
    """The application."""
    deed = request.query.get("do", "")
    if deed not in DEEDS:
        raise AGIUsageError(f"agent?do={deed}: there are {', '.join(DEEDS)}")
    await session.answer()
    who = await believed(session, request, services)
    await session.set_variable("PBXD_AGENT", who)
    if not who:
        await session.set_variable("PBXD_AGENT_STATE", "refused")
        return
    settings = services.config.agents[who]
    phone = settings.interface or interface_of(request.channel)
    state = await carry_out(session, request, services, deed, settings, phone)
    await session.set_variable("PBXD_AGENT_STATE", state)


async def believed(session: Session, request: Request, services: Services) -> str:
    """The number of the agent who has keyed the right PIN; empty if nobody has."""
    given = request.query.get("agent", "")
    for nth in range(TRIES):  # what asks again says that it was wrong, and takes keys meanwhile
        who = given or await ask(session, "agent-incorrect" if nth else "agent-user")
        pin = await ask(session, "auth-incorrect" if nth and given else "agent-pass")
        settings = services.config.agents.get(who)
        if settings is None:
            continue
        now = services.now()
        right = hmac.compare_digest(pin.encode(), settings.pin.get_secret_value().encode())
        if right and services.guard.open(who, now):
            services.guard.right(who)
            return who
        services.guard.wrong(who, now)
    return ""


def interface_of(channel: str) -> str:
    """The phone behind a channel: `PJSIP/101-0000002a` is PJSIP/101. AGIAppError for a channel without one."""
    found = INTERFACE.fullmatch(channel)
    if found is None:
        raise AGIAppError(f"the channel {channel[:80]} is of no phone; set the agent's interface")
    return found[1]


async def carry_out(session: Session, request: Request, services: Services, deed: str, agent: Agent, phone: str) -> str:  # noqa: PLR0917
    """Do it in each queue of the agent; the state that came of it."""
    if deed == "login":
        results = [
            await _result(session, "AQMSTATUS", "AddQueueMember", queue, phone, "", "", agent.name)
            for queue in agent.queues
        ]
    elif deed == "logout":
        results = [await _result(session, "RQMSTATUS", "RemoveQueueMember", queue, phone) for queue in agent.queues]
    elif deed == "pause":
        reason = await reason_of(session, request, services)
        results = [
            await _result(session, "PQMSTATUS", "PauseQueueMember", queue, phone, "", reason) for queue in agent.queues
        ]
    else:
        results = [await _result(session, "UPQMSTATUS", "UnpauseQueueMember", queue, phone) for queue in agent.queues]
    if not DONE.intersection(results):
        await play(session, "agent-incorrect")
        return "notmember"
    await play(session, {"login": "agent-loginok", "logout": "agent-loggedoff"}.get(deed, "auth-thankyou"))
    return {"login": "loggedin", "logout": "loggedout", "pause": "paused", "unpause": "unpaused"}[deed]


async def _result(session: Session, variable: str, application: str, *options: str) -> str:
    """Run one of the queue's applications; the status that it leaves."""
    await session.exec(application, *options)
    return await session.get_variable(variable)


async def reason_of(session: Session, request: Request, services: Services) -> str:
    """Why the agent pauses: as the dialplan says, or by a key; empty if the site has no reasons, or none was keyed."""
    reasons = services.config.pause_reasons
    if (given := request.query.get("reason")) is not None:
        if given not in reasons.values():
            raise AGIUsageError(f"agi.pause_reasons has no {given!r}")
        return given
    if not reasons:
        return ""
    return reasons.get(await choose(session, "".join(key for key in reasons if len(key) == 1), "beep"), "")
