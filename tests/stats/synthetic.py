"""Random calls of a small site: internal, over trunks, through queues, transferred, missed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pbxd.calls.record import CallRecord, Leg, QueueVisit, Transfer
from pbxd.stats.writer import QueueLogLine

SECOND = 1_000_000
EXTENSIONS = ("101", "102", "103", "104")
TRUNKS = ("PJSIP/trunk-a", "PJSIP/trunk-b")
QUEUES = ("support", "sales")
CALLERS = ("", "03012345", "03054321", "0891111")
DISPOSITIONS = ("answered", "answered", "no_answer", "busy", "failed", "voicemail", "abandoned", "cut")


def leg(chance: random.Random, name: str, role: str, start: int, *, answered: bool) -> Leg:
    """A leg that rings for a while, and talks for a while if it is answered."""
    ring = chance.randrange(40 * SECOND)
    talk = chance.choice([0, chance.randrange(300 * SECOND), chance.randrange(4000 * SECOND)])
    answer = start + ring if answered else None
    trunk = name in TRUNKS
    talked = ((start + ring, start + ring + talk),) if answered and talk else ()
    number = "" if trunk else name
    return Leg(
        f"{start}.{chance.randrange(1000)}", f"{name}-1", name if trunk else f"PJSIP/{name}", role, number, "", trunk, start,
        answer, start + ring + (talk if answered else 0), talked, 16,
    )  # fmt: skip


def visit(chance: random.Random, start: int) -> QueueVisit:
    """A stay in a queue."""
    wait = chance.choice([0, chance.randrange(30 * SECOND), 20 * SECOND, chance.randrange(1200 * SECOND)])
    outcome = chance.choice(["answered", "answered", "abandoned", "left"])
    talk = chance.randrange(900 * SECOND)
    answer = start + wait if outcome == "answered" else None
    left = start + wait + (talk if answer is not None else 0)
    return QueueVisit(chance.choice(QUEUES), start, answer, left, "PJSIP/101" if answer else "", outcome)


def call(chance: random.Random, number: int, start: int) -> CallRecord:
    """One call that begins at `start`."""
    answered = chance.random() < 0.6
    parties = [leg(chance, chance.choice(EXTENSIONS + TRUNKS), "caller", start, answered=True)]
    for place in range(chance.randrange(4)):
        at = start + chance.randrange(30 * SECOND)
        name = chance.choice(EXTENSIONS + TRUNKS)
        parties.append(leg(chance, name, "called", at, answered=answered and not place))
    visits = tuple(visit(chance, start + n * 2000 * SECOND) for n in range(chance.choice([0, 0, 1, 1, 2])))
    end = max([one.end for one in parties] + [one.left for one in visits])
    transfers = (Transfer(start + 1, "blind", parties[0].uniqueid, "102"),) * (chance.random() < 0.2)
    talk = sum(b - a for one in parties[1:] for a, b in one.talked)
    return CallRecord(
        f"{start // SECOND}.{number}", start, None, end, chance.choice(["inbound", "outbound", "internal"]),
        chance.choice(DISPOSITIONS), "answered", 16, "caller", chance.choice(CALLERS), "", parties[0].endpoint, "300", "", "",
        chance.randrange(30 * SECOND), sum(one.wait for one in visits), talk, 0, 0, "", "", (), tuple(parties), visits, transfers,
        (), (),
    )  # fmt: skip


def calls(seed: int, count: int, first: int, length: int) -> list[CallRecord]:
    """`count` calls that begin in the `length` microseconds from `first` on, some at the bounds of quarters of an hour."""
    chance = random.Random(seed)
    quarter = 900 * SECOND
    starts = [first + chance.randrange(length) for _ in range(count)]
    starts = [at // quarter * quarter if chance.random() < 0.1 else at for at in starts]
    return [call(chance, number, start) for number, start in enumerate(sorted(starts))]


def queue_log(seed: int, count: int, first: int, length: int) -> list[QueueLogLine]:
    """`count` lines of agents at work, in order; the offset of each is its number."""
    chance = random.Random(seed)
    agents, lines = ("Ann", "Bob"), []
    moments: Sequence[int] = sorted(first + chance.randrange(length) // SECOND * SECOND for _ in range(count))
    busy: dict[str, tuple[str, str]] = {}
    for n, at in enumerate(moments):
        agent, queue = chance.choice(agents), chance.choice(QUEUES)
        if agent in busy and chance.random() < 0.7:
            held, call_id = busy.pop(agent)
            kind = chance.choice(["COMPLETEAGENT", "COMPLETECALLER", "BLINDTRANSFER"])
            lines.append(QueueLogLine("p", n, at, call_id, held, agent, kind, "5|60|1"))
            continue
        kind, data = chance.choice([
            ("ADDMEMBER", ""), ("ADDMEMBER", "PAUSED"), ("REMOVEMEMBER", ""), ("PAUSE", "lunch"), ("UNPAUSE", ""),
            ("PAUSEALL", "end"), ("UNPAUSEALL", ""), ("CONNECT", "7|1.2|3"), ("CONNECT", "7|1.2|3"),
            ("RINGNOANSWER", "15000"), ("RINGCANCELED", "900"), ("EXITWITHTIMEOUT", "1"),
            ("EXITEMPTY", "1"), ("QUEUESTART", ""), ("CONFIGRELOAD", ""),
        ])  # fmt: skip
        if kind == "QUEUESTART" and chance.random() < 0.8:
            kind = "CONFIGRELOAD"
        if kind == "CONNECT":
            busy.setdefault(agent, (queue, f"{at}.{n}"))
        name = "NONE" if kind in ("QUEUESTART", "CONFIGRELOAD") or kind.startswith("EXIT") else agent
        lines.append(QueueLogLine("p", n, at, f"{at}.{n}", queue, name, kind, data))
    return lines
