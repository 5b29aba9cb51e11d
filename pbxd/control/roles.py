"""Who may use which route of the control API: one table, one function, no I/O. docs/access.md says the same, for people.

A route that is not in the table is refused to all but the box's owner. What concerns one person's communications is decided further
in, where it is known whose they are (`pbxd.comms.people`): those routes have `by_thing`, and let everybody as far as that.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbxd.comms.people import Decision, Person, Role

OWNERS: frozenset[Role] = frozenset({"root", "system"})  # root and pbxd's own user: the box is theirs
ADMIN: frozenset[Role] = frozenset({"admin"})
READERS: frozenset[Role] = ADMIN | {"auditor"}
LEADERS: frozenset[Role] = ADMIN | {"supervisor"}
# nobody: a member of control.group that `people` does not name
EVERYBODY: frozenset[Role] = READERS | LEADERS | {"user", "nobody"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One route's: what it is in the audit log, and for whom it is."""

    kind: str
    action: str
    roles: frozenset[Role]
    by_thing: bool = False  # decided, and put into the audit, where it is known whose it is
    noted: bool = False  # each use is in the audit log too, not refusals alone
    urgent: bool = False  # noted, and done though it cannot be: nothing can come of it but that less is kept or leaves


def _noted(kind: str, action: str, *, urgent: bool = False) -> Rule:
    return Rule(kind, action, ADMIN, noted=True, urgent=urgent)


def _things(kind: str, *routes: str) -> dict[str, Rule]:
    return dict.fromkeys(routes, Rule(kind, "use", EVERYBODY, by_thing=True))


RULES: dict[str, Rule] = {
    "GET /v1/status": Rule("status", "see", EVERYBODY),  # the short form, for all but READERS
    "GET /v1/doctor": Rule("doctor", "see", EVERYBODY),  # without details, for all but READERS
    "GET /metrics": Rule("metrics", "see", EVERYBODY),  # sums, of nobody
    "GET /v1/live": Rule("live", "see", LEADERS),  # a supervisor's teams
    "POST /v1/reload": _noted("configuration", "reload", urgent=True),
    "GET /v1/calls": Rule("calls", "see", READERS),
    "GET /v1/calls/watch": Rule("calls", "see", READERS),
    "GET /v1/calls/{id}": Rule("calls", "see", READERS),
    "GET /v1/calls/import": Rule("calls", "import", ADMIN),
    "POST /v1/calls/import": Rule("calls", "import", ADMIN),
    "GET /v1/reports/{name}": Rule("report", "see", READERS),
    "GET /v1/stats": Rule("statistics", "see", READERS),
    "POST /v1/stats/rebuild": _noted("statistics", "rebuild"),
    "POST /v1/stats/purge": _noted("statistics", "purge"),
    "GET /v1/agi": Rule("agi", "see", ADMIN),
    "GET /v1/agi/routes": Rule("agi", "see", ADMIN),
    "GET /v1/agi/scripts": Rule("agi", "see", ADMIN),
    "GET /v1/vault": Rule("vault", "see", ADMIN),
    "GET /v1/policy": Rule("policy", "see", READERS),
    "GET /v1/support": Rule("support", "see", READERS),
    "POST /v1/support": _noted("support", "open"),
    "GET /v1/support/{ticket}": Rule("support", "see", READERS),
    "POST /v1/support/{ticket}/end": _noted("support", "end", urgent=True),
    "GET /v1/support/{ticket}/watch": _noted("support", "watch"),
    "GET /v1/support/{ticket}/recordings/{session}": _noted("support", "replay"),
    "GET /v1/uplink": Rule("uplink", "see", READERS),
    "GET /v1/uplink/preview": Rule("uplink", "see", READERS),
    "GET /v1/uplink/entries/{number}": Rule("uplink", "see", READERS),
    "GET /v1/uplink/ledger": Rule("uplink", "see", READERS),
    "POST /v1/uplink/verify": Rule("uplink", "verify", READERS),
    "GET /v1/uplink/messages": Rule("uplink", "see", READERS),
    "GET /v1/uplink/proposals": Rule("uplink", "see", READERS),
    "GET /v1/uplink/proposals/{id}": Rule("uplink", "see", READERS),
    "POST /v1/uplink/proposals/{id}/{answer}": _noted("uplink", "answer"),
    "POST /v1/uplink/on": _noted("uplink", "on"),
    "POST /v1/uplink/off": _noted("uplink", "off", urgent=True),
    "POST /v1/uplink/destroy-unsent": _noted("uplink", "destroy-unsent", urgent=True),
    "POST /v1/uplink/application": _noted("uplink", "apply"),
    "POST /v1/uplink/enrolled": _noted("uplink", "enrol"),
    **_things("recording", "GET /v1/recorder", "POST /v1/recorder/{channel}/{what}"),
    **_things(
        "recording", "GET /v1/recordings", "GET /v1/recordings/export", "GET /v1/recordings/{id}", "DELETE /v1/recordings/{id}",
        "GET /v1/recordings/{id}/sound", "POST /v1/recordings/{id}/hold", "POST /v1/recordings/{id}/release",
        "POST /v1/recordings/{id}/class",
    ),
    **_things(
        "voicemail", "GET /v1/voicemail/boxes", "POST /v1/voicemail/boxes/{box}/hold", "DELETE /v1/voicemail/boxes/{box}/hold",
        "GET /v1/voicemail/export", "GET /v1/voicemail/messages", "GET /v1/voicemail/messages/{box}/{id}",
        "DELETE /v1/voicemail/messages/{box}/{id}", "GET /v1/voicemail/messages/{box}/{id}/sound",
        "POST /v1/voicemail/messages/{box}/{id}/{action}", "GET /v1/voicemail/greetings/{box}",
        "PUT /v1/voicemail/greetings/{box}/{kind}", "DELETE /v1/voicemail/greetings/{box}/{kind}",
    ),
    **_things(
        "chat", "GET /v1/chat/rooms", "GET /v1/chat/rooms/{room}", "DELETE /v1/chat/rooms/{room}",
        "GET /v1/chat/rooms/{room}/messages", "POST /v1/chat/rooms/{room}/{what}", "POST /v1/chat/messages",
        "DELETE /v1/chat/messages/{number:int}", "POST /v1/chat/attachments", "GET /v1/chat/attachments/{id}",
        "GET /v1/chat/watch", "GET /v1/chat/search", "GET /v1/chat/export",
    ),
    **_things("person", "GET /v1/people/{name}/export"),
    **_things("vault", "POST /v1/vault/verify", "POST /v1/vault/rekey", "GET /v1/vault/export"),
    **_things("audit", "GET /v1/audit", "POST /v1/audit/verify"),
}  # fmt: skip
UNKNOWN = Rule("route", "use", frozenset())


def rule_of(method: str, template: str) -> Rule:
    """The rule of a route, by its method and path as it was declared; one that lets nobody in, if the table has none."""
    return RULES.get(f"{'GET' if method == 'HEAD' else method} {template}", UNKNOWN)


def decide(who: Person, rule: Rule) -> Decision:
    """Whether `who` may, and the reason in words."""
    if who.role in OWNERS:
        return Decision(allowed=True, reason=f"the role {who.role}")
    if who.role in rule.roles:
        return Decision(allowed=True, reason=f"the role {who.role}")
    if rule.roles:
        needed = f"use {rule.kind} ({rule.action}): that is for the role {' or '.join(sorted(rule.roles))}"
    else:
        needed = f"use this {rule.kind}: no role is entered for it"
    missing = f"; `people` names nobody with the login {who.name}" if who.role == "nobody" else ""
    return Decision(allowed=False, reason=needed + missing)


def reads_all(who: Person) -> bool:
    """Whether `who` gets status and findings whole."""
    return who.role in OWNERS | READERS
