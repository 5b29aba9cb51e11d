"""Judges each clause of the privacy contract by what was seen. A clause that only a sentence keeps is not kept. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address

from pbxd.config.schema import keys
from pbxd.policy.facts import Evidence, State, TicketFacts, Verdict
from pbxd.uplink.book import TICKET_ALARM, TICKET_ENDED, TICKET_OPENED
from pbxd.uplink.support.agreement import SLACK, differs
from pbxd.uplink.support.ticket import REASONS

CLASSES = (
    "config",
    "stats",
    "health",
)  # of entries; what a session shows is class `support`, and goes up by the person's own eyes
CARDS = re.compile(r"(^|[_.])(card|cvv|cvc|pan|iban|creditcard|card_number|expiry)([_.]|$)")
HIDDEN = "some process holds the link's lock, and cannot be seen from here (another container?)"
MOVE_THE_KEY = "Put the key elsewhere or encrypt the disk: docs/vault.md"
LONGEST = 7 * 86_400.0  # s that a ticket may ever have been open
Finding = tuple[State, list[str]]


def judged(seen: Evidence) -> list[Verdict]:
    """Every clause, in order."""
    return [Verdict(clause, *_told(judge(seen))) for clause, judge in CLAUSES.items()]


def _told(found: Finding) -> tuple[State, tuple[str, ...]]:
    return found[0], tuple(found[1])


def _by(wrong: Iterable[str], good: Iterable[str]) -> Finding:
    """Broken by what is wrong, if anything is; else kept, as what is good shows."""
    faults = list(wrong)
    return ("broken", faults) if faults else ("kept", list(good))


def p1(seen: Evidence) -> Finding:
    """Only the four classes, each in its form, each in the ledger."""
    if seen.ledger is None:
        return "not applicable", ["there is no ledger: nothing was ever queued to be sent"]
    ledger = seen.ledger
    strange = [f"{count} entries of class {name}" for name, count in ledger.entries.items() if name not in CLASSES]
    told = ", ".join(f"{count} {name}" for name, count in sorted(ledger.entries.items())) or "none"
    good = [
        f"the ledger's {ledger.lines} lines are what was signed; entries: {told}",
        f"{ledger.bodies} of their bodies are here still, each of the form of its class; of the others there is the hash",
    ]
    return _by([*ledger.faults, *strange, *ledger.misfits], good)


def p2(seen: Evidence) -> Finding:
    """Statistics stay on the box when they are switched off."""
    wrong = [one for one in seen.unlike if "share_statistics" in one]
    if seen.config.uplink.share_statistics:
        return _by(wrong, ["uplink.share_statistics is true, as you configured: they may be sent"])
    if seen.ledger is None:
        return _by(wrong, ["uplink.share_statistics is false, and nothing was ever queued"])
    if not seen.ledger.stats_off:
        wrong.append("uplink.share_statistics is false, and the ledger does not say that they were switched off")
    if seen.ledger.unsent_stats:
        wrong.append(
            f"{seen.ledger.unsent_stats} entries of class stats wait to be sent, and uplink.share_statistics is false"
        )
    if seen.ledger.stats_after_off:
        wrong.append(f"{seen.ledger.stats_after_off} entries of class stats were queued after they were switched off")
    return _by(wrong, ["uplink.share_statistics is false: no entry of class stats waits, and none came after"])


def p3(seen: Evidence) -> Finding:
    """The process that talks to the vendor cannot open the stores: the operating system refuses."""
    wrong = [
        f"{seen.eyes} can read {store}: {what}" for store, what in seen.opened.items() if what not in ("", "absent")
    ]
    for one in seen.links:
        if one.uid in (seen.core.uid, 0):
            wrong.append(f"the link (process {one.pid}) runs as the user of pbxd, or as root")
        elif one.powers:
            wrong.append(
                f"the link (process {one.pid}) has {' and '.join(one.powers)}, and may get past the rights of files"
            )
    if seen.control:
        wrong.append(f"the control socket answers {seen.eyes}: {seen.control}")
    refused = [store for store, what in seen.opened.items() if what == ""]
    absent = [store for store, what in seen.opened.items() if what == "absent"]
    good = [f"tried as {seen.eyes}: refused by the operating system: {', '.join(refused) or 'none'}"]
    if absent:
        good.append(f"not there: {', '.join(absent)}")
    return _unless_hidden(seen, _by([*wrong, *seen.modes], good))


def p4(seen: Evidence) -> Finding:
    """No access without a ticket; each session recorded, its sum in the ledger."""
    opened = [one for one in seen.tickets if one.state == "open"]
    wrong = [fault for one in seen.tickets for fault in (*_ticket_faults(one, seen), *_session_faults(one, seen))]
    wrong += _lost_tickets(seen)
    if not opened and seen.support:
        wrong.append(f"no ticket is open, and process {seen.support[0].pid} holds sessions")
    if not opened and seen.support_socket:
        wrong.append("no ticket is open, and there is a socket for sessions")
    if len(opened) > 1:
        wrong.append(f"{len(opened)} tickets are open")
    sessions = sum(len(one.sessions) for one in seen.tickets)
    now = "no ticket is open, and nobody listens"
    if opened:
        reasons: Mapping[str, str] = {str(name): text for name, text in REASONS.items()}
        now = f"ticket {opened[0].id} is open: {reasons.get(opened[0].reason, 'for no reason that there is')}"
    return _by(
        wrong,
        [
            now,
            f"{len(seen.tickets)} tickets so far, {sessions} sessions, each with the recording that was summed at its end",
        ],
    )


def _ticket_faults(ticket: TicketFacts, seen: Evidence) -> Iterable[str]:
    if ticket.reason not in REASONS:
        yield f"ticket {ticket.id} has the reason {ticket.reason}, which is none"
    longest = (
        seen.config.uplink.support_longest + SLACK if ticket.state == "open" else LONGEST
    )  # it may have been another one then
    if not 0 < ticket.seconds <= longest:
        yield f"ticket {ticket.id} is open for {ticket.seconds / 3600:.1f} h: that is longer than one may be"
    if seen.ledger is None:
        return
    lines = {str(event["event"]): event for event in reversed(seen.ledger.events) if event.get("ticket") == ticket.id}
    if wrong := differs(ticket.entered, lines.get(TICKET_OPENED)):
        yield f"ticket {ticket.id} is not what the ledger says: {wrong}"
    if ticket.state == "open" and TICKET_ENDED in lines:
        yield f"ticket {ticket.id} is open, and the ledger says that it has ended: {lines[TICKET_ENDED].get('why')}"
    if TICKET_ALARM in lines:
        yield f"ticket {ticket.id} was ended by an alarm: {lines[TICKET_ALARM].get('why')}"


def _lost_tickets(seen: Evidence) -> list[str]:
    """Tickets with sessions of which the box has nothing but the ledger's lines."""
    there = {one.id for one in seen.tickets}
    begun = {str(line.get("ticket")) for line in (seen.ledger.events if seen.ledger is not None else ())
             if line["event"] == "support-begin"}  # fmt: skip
    return [f"ticket {name} had sessions by the ledger, and is not there any more" for name in sorted(begun - there)]


def _session_faults(ticket: TicketFacts, seen: Evidence) -> Iterable[str]:
    entered = {
        (str(event.get("ticket")), event.get("session"), str(event.get("event"))): str(event.get("sha256", ""))
        for event in (seen.ledger.events if seen.ledger is not None else ())
    }
    for number, said, now in ticket.sessions:
        if said and said != now:
            yield f"the recording of session {number} of ticket {ticket.id} is not what it was at its end"
        if seen.ledger is not None and (ticket.id, number, "support-begin") not in entered:
            yield f"session {number} of ticket {ticket.id} is not in the ledger"
        elif seen.ledger is not None and said and entered.get((ticket.id, number, "support-end")) != said:
            yield f"the ledger has another sum of session {number} of ticket {ticket.id}"


def p5(seen: Evidence) -> Finding:
    """Aggregated usage: fixed names and coarse buckets, nothing under ten."""
    count = 0 if seen.ledger is None else seen.ledger.entries.get("health", 0)
    if seen.ledger is None or not count:
        return "not applicable", ["no usage statistics have been made"]
    wrong = [misfit for misfit in seen.ledger.misfits if "(health)" in misfit]
    told = ", ".join(f"{name} {bucket}" for name, bucket in sorted(seen.ledger.usage.items())) or "nothing"
    least = seen.config.uplink.usage_at_least
    return _by(
        wrong,
        [
            f"{count} entries of class health; in the bodies still here, use is told in buckets from 10+ on, under fixed names",
            f"uplink.usage_at_least is {least}; the latest report of health that is here tells: {told}",
        ],
    )


def _unless_hidden(seen: Evidence, found: Finding) -> Finding:
    """What was found of the link; no more than a warning if there is one that was not."""
    if seen.links or not seen.locked or found[0] == "broken":
        return found
    return "warning", [f"{HIDDEN}: run this where it runs, as root of the machine", *found[1]]


def p6(seen: Evidence) -> Finding:
    """No voice by the link: it has no UDP, and nothing of a call is near it."""
    ours = (*seen.links, *seen.support)
    wrong = [f"process {one.pid} has sockets that voice goes by: {', '.join(one.udp)}" for one in ours if one.udp]
    running = (
        f"processes {', '.join(str(one.pid) for one in ours)} have no UDP, UDP-Lite or raw socket now"
        if ours
        else "no link and no session runs now"
    )
    return _unless_hidden(seen, _by(wrong, [running, "no class of upload carries sound (P1 looks at the bodies)"]))


def p7(seen: Evidence) -> Finding:
    """Outbound only, pinned, never before the enrolment."""
    if not seen.links and not seen.locked:
        return (
            ("kept", ["enrolled, and the link does not run now"])
            if seen.enrolled
            else ("not applicable", ["this box is not enrolled"])
        )
    wrong = []
    for one in seen.links:
        if not seen.enrolled:
            wrong.append(f"the link runs (process {one.pid}), and this box is not enrolled")
        if one.listening:
            wrong.append(f"the link (process {one.pid}) listens on {', '.join(one.listening)}")
    wrong += [one for one in seen.unlike if one.startswith("the link")]
    if len(seen.links) > 1:
        wrong.append(f"{len(seen.links)} processes are the link: {_pids(seen)}")
    if not seen.config.uplink.host_keys:
        wrong.append("uplink.host_keys is empty: the hub is not pinned")
    ends = ", ".join(end for one in seen.links for end in one.connected) or "nobody"
    good = [
        f"the link (process {_pids(seen)}) listens on no TCP port now, and is connected to {ends}",
        f"configuration and the link's settings pin {seen.config.uplink.hub} by {len(seen.config.uplink.host_keys)} keys",
    ]
    return _unless_hidden(seen, _by(wrong, good))


def _pids(seen: Evidence) -> str:
    return ", ".join(str(one.pid) for one in seen.links) or "unknown"


def p8(seen: Evidence) -> Finding:
    """Off is off."""
    wrong = [one for one in seen.unlike if "enabled" in one]
    if not seen.switched_off:
        return _by(wrong, ["the link is allowed, as you configured; that it can be switched off was not tried"])
    for one in seen.links:
        wrong.append(f"the uplink is off, and the link runs (process {one.pid})")
        if one.connected:
            wrong.append(f"it is connected to {', '.join(one.connected)}")
    if seen.locked and not seen.links:
        wrong.append(f"the uplink is off, and {HIDDEN}")
    return _by(
        wrong,
        [
            "the uplink is off: nobody holds the link's lock, and no process was started as a link on the outbox",
            "so there is no connection of a link, and no look-up of a name by one",
        ],
    )


def p9(seen: Evidence) -> Finding:
    """Encrypted and authenticated, or on this machine only."""
    wrong = []
    for key, address in (("metrics.listen", seen.config.metrics.listen), ("agi.listen", seen.config.agi.listen)):
        if address is not None and not _local(address.rpartition(":")[0]):
            wrong.append(f"{key} is {address}: others can reach it without a password and without encryption")
    if not _local(seen.config.ami.host) and not seen.config.ami.tls.enabled:
        wrong.append(f"AMI goes to {seen.config.ami.host} without TLS: its secret and calls can be read on the way")
    if seen.control:
        wrong.append(f"the control socket answers {seen.eyes}")
    others = [one for one in seen.core.listening if not _local(one.rpartition(":")[0])]
    wrong += [f"pbxd (process {seen.core.pid}) can be reached from elsewhere, on {one}" for one in others]
    ports = ", ".join(seen.core.listening) or "no port"
    good = [
        f"the control socket did not answer {seen.eyes}; pbxd listens on {ports}, and so on this machine only",
        "this version has no page to sign in at, and so no password and no session",
    ]
    return _by(wrong, good)


def _local(host: str) -> bool:
    host = host.strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def p10(seen: Evidence) -> Finding:
    """Own things only, and every access in the audit log."""
    if seen.audit is None:
        return "not applicable", ["neither recordings nor chats are kept, so there is no audit log"]
    good = [
        "pbxd says that the chain of the audit log is whole; by owner and mode, the store and its key are pbxd's alone",
        "who may hear what was not tried: that is pbxd's to refuse, and each refusal is in `pbxctl audit list`",
    ]
    return _by([*seen.audit, *seen.modes], good)


def p11(seen: Evidence) -> Finding:
    """Retention, and no secret in a log."""
    keep, searched = seen.config.comms.keep_audit, seen.searched
    rows = "until you delete them (comms.keep_audit)" if keep is None else f"for {keep / 86_400:g} days"
    good = [f"journal parts are kept for {seen.config.journal.keep / 86_400:g} days, audit rows {rows}"]
    if searched.read and searched.secrets:
        good.append(f"{searched.secrets} secrets of the configuration are not in: {'; '.join(searched.read)}")
    if searched.short:
        good.append(f"{searched.short} secrets are too short to be looked for, such as PINs")
    good.append("what people say and write was not looked for: this command does not know it")
    if searched.found:
        return "broken", [f"{place} holds a secret" for place in searched.found]
    if searched.unread:
        return "warning", [f"not looked at: {what}" for what in searched.unread] + good
    return "kept", good


def p12(seen: Evidence) -> Finding:
    """Notices can be turned off, but for security."""
    hidden = [one for one in seen.messages if one.get("state") == "hidden"]
    wrong = [
        f"the notice {one['id']} affects security and was hidden"
        for one in hidden
        if (one.get("message") or {}).get("topic") == "security"
    ]
    rule = seen.config.uplink.notices
    return _by(wrong, [f"uplink.notices is {rule}; {len(hidden)} notices were hidden, none of them about security"])


def p13(seen: Evidence) -> Finding:
    """No card data."""
    names = [*keys(type(seen.config)), *seen.columns]
    wrong = [f"there is a field {name}" for name in names if CARDS.search(name.lower())]
    recording = seen.config.recording
    pause = "nothing is recorded"
    if recording.enabled:
        pause = "recordings can be paused by hand and by key" + (
            ", and are to pause while keys are pressed"
            if recording.pause_on_digits
            else "; not by themselves, as you configured"
        )
    files = "" if seen.columns else ": there is no database file here whose columns could be looked at"
    return _by(
        wrong, [f"by its name, none of {len(names)} keys and columns is for card data{files}", f"{pause} (not tried)"]
    )


def p14(seen: Evidence) -> Finding:
    """Safe defaults, a doctor that tells, encryption at rest: a stolen disk gives nothing."""
    wrong = [f"{name} is not encrypted" for name in seen.plain]
    if seen.config.comms.key_file.is_relative_to(seen.config.comms.folder):
        wrong.append("comms.key_file lies in comms.folder: who copies the store has its key")
    if seen.theft is not None and seen.theft.risk == "taken":
        wrong.append(f"who steals the disk can read the store: {seen.theft.detail}. {MOVE_THE_KEY}")
    doubts = [f"{what}: encrypt the disk" for what in seen.clear]
    if seen.theft is not None and seen.theft.risk == "unknown":
        doubts.append(f"{seen.theft.detail}. {MOVE_THE_KEY}")
    good = ["nothing is kept, and so there is nothing to steal"]
    if seen.theft is not None:
        good = [f"{seen.objects} stored objects, each begins as an encrypted file does", seen.theft.detail]
    good += [f"the doctor: {one['check']}: {one['detail']}" for one in seen.findings if one["state"] == "fault"]
    if doubts and not wrong:
        return "warning", [*doubts, *good]
    return _by([*wrong, *doubts] if wrong else (), good)


CLAUSES: dict[str, Callable[[Evidence], Finding]] = {
    "P1": p1, "P2": p2, "P3": p3, "P4": p4, "P5": p5, "P6": p6, "P7": p7,
    "P8": p8, "P9": p9, "P10": p10, "P11": p11, "P12": p12, "P13": p13, "P14": p14,
}  # fmt: skip
