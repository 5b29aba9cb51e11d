"""Finds the usual faults and says the remedy. Each check is a function from what was measured to a finding."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
SILENCE = 86400.0  # s without a CEL line that are worth a question


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: str  # ok | warning | fault
    detail: str
    remedy: str = ""


def ok(check: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", detail)


def ami(status: dict[str, Any]) -> Finding:
    """The AMI session."""
    state, error = status["state"], status["last_error"]
    if status["connected"]:
        return ok("ami", f"connected to {status['peer']}, Asterisk {status['asterisk'] or 'of unknown version'}")
    if state == "refused":
        remedy = (
            "set the same secret in manager.conf ([pbxd]) and in ami.secret_file, then `asterisk -rx 'manager reload'`"
        )
        return Finding("ami", "fault", f"Asterisk refused the login: {error}", remedy)
    remedy = "is Asterisk running (`systemctl status asterisk`), is AMI enabled in manager.conf, are ami.host and ami.port right?"
    return Finding("ami", "fault", f"not connected to {status['peer']}: {error or state}", remedy)


def agi(status: dict[str, Any]) -> Finding:
    """FastAGI: does it listen, and are sessions turned away?"""
    if status["last_error"]:
        remedy = "is agi.listen another program's port? The dialplan goes on meanwhile; pbxd tries again by itself"
        return Finding("agi", "fault", status["last_error"], remedy)
    if not status["listening"]:
        return ok("agi", "off: agi.listen is empty")
    where = ", ".join(status["listening"])
    if status["refused"]:
        detail = f"{where}: {status['refused']} connections were refused since the start, the last of {status['last_refused']}"
        remedy = "if that is Asterisk, name its user in agi.users, or its host in agi.peers; else find out who it is"
        return Finding("agi", "warning", detail, remedy)
    busy = status["outcomes"].get("BUSY", 0)
    if busy or status["cut"]:
        remedy = (
            f"raise agi.sessions (it is {status['limit']}) or of scripts, or find what holds them: `pbxctl agi status`"
        )
        return Finding(
            "agi", "warning", f"{where}: {busy + status['cut']} sessions were too many since the start", remedy
        )
    return ok("agi", f"{where}, {status['running']} sessions now, {status['sessions']} since the start")


def agi_scripts(status: dict[str, Any]) -> list[Finding]:
    """The customer's scripts: as whom they run; nothing, where there are none."""
    files, how = status["files"], status["way"]
    if not files:
        return []
    if how == "own user":
        remedy = "set agi.scripts.own_user: false, and `systemctl enable --now pbxd-scripts.socket`: docs/dialplan.md"
        detail = f"{files} AGI scripts run as pbxd's own user, and can read and delete recordings, voicemail and chats"
        return [Finding("scripts", "warning", detail, remedy)]
    if how == "none":
        remedy = "`systemctl enable --now pbxd-scripts.socket`; as root without systemd, set agi.scripts.user: docs/dialplan.md"
        return [Finding("scripts", "fault", f"{files} AGI scripts cannot run: there is no user for them", remedy)]
    as_whom = f"the user {status['user']}" if how == "user" else "the user of pbxd-scripts.service"
    return [ok("scripts", f"{files} AGI scripts run as {as_whom}, {status['running']} now")]


SPOOL_REMEDY = "set recording.spool_on_disk to a folder on a bigger disk that Asterisk may write to, or lower recording.spool_calls"


def recording(status: dict[str, Any] | None) -> Finding:
    """Recordings of calls, as they are made."""
    if status is None:
        return ok("recording", "off: recording.enabled is false")
    if status["last_error"]:
        remedy = "calls go on and are not recorded; see `recording.spool…` in docs/configuration.md"
        return Finding("recording", "fault", status["last_error"], remedy)
    made = f"{status['recording']} calls are being recorded, {status['handed_over']} were since the start"
    if status["without_consent"] and not any(one["why"] for one in status["spools"]):
        detail = (
            f"{status['without_consent']} conversations were not recorded: nobody heard the announcement of the rule"
        )
        return Finding(
            "recording", "warning", detail, "play it in the dialplan, or change the rule's consent: docs/recording.md"
        )
    return _spools(status, made)


def _spools(status: dict[str, Any], made: str) -> Finding:
    """Whether what Asterisk writes while calls go on has room."""
    spools = status["spools"]
    room = "; ".join(
        f"{one['folder']}: {one['free'] / 1024**2:.0f} MiB free, {one['hours']:.1f} hours of calls" for one in spools
    )
    detail = f"{made}, in {status['spool']}; {room} at 115 MB an hour"
    full = [one["why"] for one in spools if one["why"]]
    if full:
        return Finding(
            "recording", "warning", f"{full[0]}; calls are recorded in {status['spool']}. {room}", SPOOL_REMEDY
        )
    if sum(one["hours"] for one in spools) < status["calls_wanted"]:
        detail += f"; {status['calls_wanted']} are wanted (recording.spool_calls)"
        return Finding("recording", "warning", detail, SPOOL_REMEDY)
    return ok("recording", detail)


def communications(comms: dict[str, Any] | None, stored: dict[str, Any] | None, low: int) -> list[Finding]:
    """The store of communications, and what is on its way into it; nothing, where nothing is kept."""
    if comms is None:
        return []
    return [_vault(comms, low), _theft(comms["theft"])] + ([] if stored is None else [_stored(stored)])


def _vault(comms: dict[str, Any], low: int) -> Finding:
    if not comms["open"]:
        remedy = "recordings wait in the spool, which may be memory; see docs/vault.md"
        return Finding("vault", "fault", comms["error"] or "the store is being opened", remedy)
    if comms["missing"]:
        remedy = "bring their files back from a backup; `pbxctl vault verify` tells what is wrong now"
        return Finding("vault", "fault", f"{len(comms['missing'])} objects are missing in {comms['folder']}", remedy)
    if comms["free"] < low:
        remedy = "free space, shorten recording.keep or set recording.keep_free"
        return Finding("vault", "warning", f"{comms['free'] / 1024**3:.1f} GiB free in {comms['folder']}", remedy)
    if comms["orphans"]:
        remedy = f"nobody can read them; delete {comms['folder']}/orphans when you know where they came from"
        return Finding("vault", "warning", f"{comms['orphans']} objects without a row were set aside", remedy)
    return ok("vault", f"{comms['folder']}, {comms['free'] / 1024**3:.1f} GiB free")


def _theft(theft: dict[str, str]) -> Finding:
    """What somebody has who steals the disk of the store."""
    if theft["risk"] != "taken":
        return ok("key", theft["detail"])
    remedy = "put the key elsewhere or encrypt the disk, and keep a copy of the key: docs/vault.md"
    return Finding("key", "warning", f"who steals the disk can read the store: {theft['detail']}", remedy)


def _stored(stored: dict[str, Any]) -> Finding:
    """Recordings on their way from the spool into the vault."""
    waiting = f"{stored.get('waiting', 0)} recordings wait in the spool, the oldest for {stored.get('oldest', 0):.0f} s"
    if stored["error"]:
        return Finding("recordings", "fault", f"{waiting}: {stored['error']}", "mend that; pbxd goes on by itself")
    if stored["failing"]:
        name, why = next(iter(stored["failing"].items()))
        remedy = f"pbxd tries again; if it does not help, keep a copy of {name} and take it out of the spool"
        return Finding("recordings", "warning", f"{waiting}; {len(stored['failing'])} fail, {name}: {why}", remedy)
    if stored["damaged"]:
        remedy = "all that was there of them is in the vault as a tar file each: `pbxctl vault export`"
        return Finding("recordings", "warning", f"{stored['damaged']} recordings were damaged", remedy)
    return ok("recordings", f"{stored['recordings']} in the vault, {stored['held']} held; {waiting}")


def voicemail(status: dict[str, Any] | None) -> list[Finding]:
    """Mailboxes: can they be read, are messages where they should be, are people told; nothing, where it is off."""
    if status is None:
        return []
    if status["last_error"]:
        remedy = "let pbxd's user read voicemail.spool: see docs/voicemail.md"
        return [Finding("voicemail", "fault", status["last_error"], remedy)]
    found = []
    if status["upkeep"]["error"]:
        remedy = "mend that; pbxd goes on by itself, and until then messages stay where they are"
        found.append(Finding("voicemail", "warning", status["upkeep"]["error"], remedy))
    if status["notices"]["error"]:
        remedy = "see reports.mail and the addresses in voicemail.boxes; pbxd tries again"
        found.append(Finding("notices", "warning", status["notices"]["error"], remedy))
    if status["unwatched"]:
        remedy = "raise fs.inotify.max_user_watches; until then changes are seen after a minute"
        found.append(Finding("voicemail", "warning", "the kernel has no watch left for the spool", remedy))
    number = f"{status['messages']} messages in {status['spool']}, {status['archived']} archived"
    return found or [ok("voicemail", f"{number}, {status['held_boxes']} mailboxes held")]


def chat(status: dict[str, Any] | None) -> Finding:
    """Chats, and their way to the phones."""
    if status is None:
        return ok("chat", "off: chat.enabled is false")
    if status["error"]:
        return Finding(
            "chat", "fault", status["error"], "nothing is taken meanwhile; mend that, pbxd goes on by itself"
        )
    if status["phone_error"]:
        remedy = "`pbxd asterisk-config --write /etc/asterisk`, then `asterisk -rx 'manager reload'`: write = message is missing"
        return Finding("chat", "fault", f"phones get no messages: {status['phone_error']}", remedy)
    return ok("chat", f"{status['messages']} messages in {status['rooms']} rooms, {status['waiting']} wait for a phone")


def support(status: dict[str, Any]) -> Finding:
    """What the vendor has been let in to, and what it waits for."""
    if status["disputed"]:
        return Finding(
            "support", "fault", status["disputed"], "keep both; `pbxctl uplink verify` with a checkpoint from elsewhere"
        )
    if status["alarm"]:
        remedy = "`pbxctl policy verify` and `pbxctl uplink ledger` show more; what to do is in docs/support.md"
        return Finding("support", "fault", status["alarm"], remedy)
    if status["open"] and not status["listening"]:
        remedy = "see pbxd's log; `pbxctl support end` ends the ticket"
        return Finding("support", "warning", f"ticket {status['ticket']} is open, and nobody can come in by it", remedy)
    if status["open"]:
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(status["until"]))
        detail = f"ticket {status['ticket']} ({status['scope']}) is open until {until}, {status['sessions']} sessions"
        return ok("support", detail)
    if status["proposals_waiting"]:
        remedy = "`pbxctl uplink proposals` shows them"
        return Finding(
            "support", "warning", f"{status['proposals_waiting']} proposed changes wait for your answer", remedy
        )
    return ok("support", "nobody can come in")


def uplink(status: dict[str, Any]) -> Finding:
    """The link to the vendor: it is the customer's choice, so that one that is off is no fault."""
    if status["enrolled"] is None:
        return ok("uplink", "this box is not enrolled: nothing leaves it")
    if status["error"]:
        remedy = "nothing leaves the box meanwhile; `pbxctl uplink verify` looks at the ledger, docs/uplink.md says what to do"
        return Finding("uplink", "fault", status["error"], remedy)
    if error := status["checkpoints"]["error"] or status["checkpoints"]["unlogged"]:
        return Finding(
            "uplink", "warning", error, "see uplink.checkpoints and reports.mail; it is tried again by itself"
        )
    if not status["on"]:
        return ok("uplink", "off, by the customer; nothing leaves the box")
    return _link(status)


def _link(status: dict[str, Any]) -> Finding:
    """How the connection of an uplink that is on stands."""
    link, waiting = status["link"], f"{status['waiting']} entries wait"
    if status["connected"]:
        return ok("uplink", f"connected to {status['hub']} since {link['since']}; {waiting}")
    if link["state"] in ("none", "silent"):
        return Finding(
            "uplink", "warning", f"the link's process does not run; {waiting}", "systemctl status pbxd-uplink"
        )
    detail = f"{link['state']}: {link.get('detail') or link['state']}; {waiting}"
    remedy = "calls and everything local go on; docs/uplink.md says what each refusal means"
    return Finding("uplink", "fault" if link["state"] == "refused" else "warning", detail, remedy)


def cel(path: Path, now: float, live_calls: int) -> Finding:
    """The CEL journal: can it be read, and is it written?"""
    folder = path.parent
    if not folder.is_dir():
        remedy = "`pbxd asterisk-config --write /etc/asterisk` makes it: without it Asterisk writes nothing, and says so nowhere"
        return Finding("cel", "fault", f"{folder} does not exist", remedy)
    if not os.access(folder, os.R_OK | os.X_OK) or (path.exists() and not os.access(path, os.R_OK)):
        return Finding("cel", "fault", f"{path} cannot be read", "add pbxd's user to Asterisk's group")
    return _written(path, now, live_calls)


def _written(path: Path, now: float, live_calls: int) -> Finding:
    """Whether Asterisk writes the CEL file while there are calls."""
    age = now - path.stat().st_mtime if path.exists() else None
    if live_calls and (age is None or age > SILENCE):
        remedy = "`pbxd asterisk-config --write /etc/asterisk`, then `asterisk -rx 'module reload cel'` and the same for cel_custom"
        return Finding("cel", "fault", f"calls are up, but {path} is not written", remedy)
    if age is None:
        return Finding(
            "cel", "warning", f"{path} is not there: no call was made yet, or CEL is off", "place a call and look again"
        )
    return ok("cel", f"{path}, last line {age:.0f} s ago")


def rotation(path: Path) -> Finding:
    """Whether pbxd can rotate and delete the journal itself."""
    if os.access(path.parent, os.W_OK):
        return ok("rotation", f"{path.parent} can be written")
    remedy = "give pbxd's group write access there, or rely on /etc/logrotate.d/pbxd"
    return Finding(
        "rotation", "warning", f"{path.parent} cannot be written: pbxd cannot rotate or delete journal parts", remedy
    )


def store(status: dict[str, Any], folder: Path) -> Finding:
    """The statistics store."""
    if status["last_error"]:
        return Finding(
            "store",
            "fault",
            status["last_error"],
            "free disk space or mend the folder's rights; pbxd goes on by itself",
        )
    if not os.access(folder, os.W_OK):
        return Finding("store", "fault", f"{folder} cannot be written", f"chown pbxd {folder}")
    return ok("store", f"{folder}, {status['records']} records since the start, lag {status['lag']:.1f} s")


def disk(folder: Path, low: int) -> Finding:
    """Free space where the store is."""
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free in {folder}"
    if free < low:
        remedy = "free space, or shorten journal.keep; records wait in the journal when the disk is full"
        return Finding("disk", "fault" if free < low // 4 else "warning", text, remedy)
    return ok("disk", text)


def clock(offset: float | None, limit: float) -> Finding:
    """The machine's clock: synchronised, and the same as Asterisk's. `offset` is ours less Asterisk's, in seconds."""
    if offset is not None and abs(offset) > limit:
        remedy = "synchronise both machines (systemd-timesyncd or chrony)"
        return Finding("clock", "fault", f"Asterisk's clock differs from ours by {offset:.1f} s", remedy)
    state = kernel_clock()
    if state == TIME_ERROR:
        remedy = "enable systemd-timesyncd or chrony: call times are only as right as this clock"
        return Finding("clock", "warning", "the kernel says that the clock is not synchronised", remedy)
    return ok("clock", "synchronised" if state >= 0 else "the same as Asterisk's (the kernel may not be asked)")


def kernel_clock() -> int:
    """What the kernel says of its clock (adjtimex(2), read only): TIME_ERROR is not synchronised, -1 that we may not ask."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, modes = 0: nothing is changed
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(buffer))


def rejects(count: int, fragments: int) -> Finding:
    """Journal lines that could not be understood, and calls whose beginning is in none."""
    if fragments:
        remedy = "were they up when CEL was switched on? Else: has Asterisk descriptors (`ulimit -n`, 4 a call) and disk space?"
        return Finding(
            "journal", "warning", f"{fragments} calls have no beginning in the journal, and so no record", remedy
        )
    if count == 0:
        return ok("journal", "every line was understood")
    remedy = "see table journal_rejects; is another program writing that file, or was the disk full?"
    return Finding("journal", "warning", f"{count} journal lines could not be understood; they are kept", remedy)


def as_dicts(findings: list[Finding]) -> list[dict[str, str]]:
    """For JSON."""
    return [asdict(finding) for finding in findings]


def local(cel_path: Path, folder: Path, low: int) -> list[Finding]:
    """What can be looked at without the daemon."""
    findings = [cel(cel_path, time.time(), 0), rotation(cel_path), clock(None, 0)]
    if folder.exists():
        findings.append(disk(folder, low))
    else:
        findings.append(Finding("store", "warning", f"{folder} does not exist yet", "it is made when pbxd starts"))
    return findings
