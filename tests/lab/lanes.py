"""Calls as people make them, all at once on one box, for `test_recording_calls`, which listens to what was kept of them.

A lane is one call, or several after one another; no two lanes share a phone. Each phone speaks a tone of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lab.asterisk import wait_until
from lab.desk import Line
from lab.transfers import answered_by, connect
from tests.lab.office import Office
from tests.test_recordings import by

TALK = 1.2  # s: enough to be told from a moment between two steps
KEYED, CARD = "7391846205", "4929518306"  # keys that are pressed in no other call
TONES = {
    str(number): (500, 600, 1000, 1100, 1400)[(number - 101) % 5] for number in (*range(101, 124), *range(125, 138))
}


def talk(office: Office, number: str) -> None:
    """Let people talk for a while in a call that is being recorded."""
    office.pauses(number)
    office.desk.pause(TALK)


def attended(office: Office) -> None:
    a, b = connect(office.desk, "101", "102")
    talk(office, "101")
    b.hold()
    second, _ = connect(office.desk, "102", "103")
    talk(office, "103")
    b.replace(second)
    talk(office, "101")
    a.hang_up()


def blind(office: Office) -> None:
    a, b = connect(office.desk, "105", "106")
    talk(office, "105")
    b.refer("107").hang_up()
    answered_by(office.desk, "107")
    talk(office, "107")
    a.hang_up()


def held(office: Office) -> None:
    a, b = connect(office.desk, "108", "109")
    talk(office, "108")
    b.hold()
    office.desk.pause(TALK)
    b.resume()
    office.desk.pause(TALK)
    a.hang_up()


def parked(office: Office) -> None:
    a, b = connect(office.desk, "110", "111")
    talk(office, "110")
    b.refer("700").hang_up()
    office.desk.pause(TALK)
    office.desk.call("112", "701").talks()
    talk(office, "112")
    a.hang_up()


def conference(office: Office) -> None:
    a = office.desk.call("113", "821").talks()
    b = office.desk.call("114", "821").talks()
    talk(office, "114")
    c = office.desk.call("115", "821").talks()
    talk(office, "115")
    a.hang_up()
    office.desk.pause(TALK)
    b.hang_up()
    c.hang_up()


def by_hand(office: Office) -> None:
    """By feature code, by the command, by the API, by somebody with their own login at whose phone it is."""
    a, b = connect(office.desk, "104", "137", "*7137")
    talk(office, "104")
    b.key("*7")
    office.pauses("104", "asked")
    office.desk.pause(TALK)
    b.key("*1")
    talk(office, "104")
    name = office.under_way("104")["id"]
    for ask in (
        lambda what: office.box.pbxd.ctl("recorder", what, name),
        lambda what: office.box.pbxd.api.post(f"/v1/recorder/{name}/{what}"),
        lambda what: by("nobody", office.box.pbxd, "POST", f"/v1/recorder/{name}/{what}"),
    ):
        ask("pause")
        office.pauses("104", "asked")
        office.desk.pause(TALK)
        ask("resume")
        talk(office, "104")
    a.hang_up()


def keyed(office: Office, caller: str, called: str, how: str) -> None:
    a, _ = connect(office.desk, caller, called)
    talk(office, caller)
    a.key(KEYED, how)
    office.pauses(caller, "digits")
    talk(office, caller)
    a.hang_up()


def paid(office: Office) -> None:
    """In the middle of a call: the caller is sent to where a card number is keyed, and says more of it to an agent."""
    a, b = connect(office.desk, "122", "123")
    talk(office, "122")
    b.refer("*5125").hang_up()
    office.pauses("122", "payment")
    pay(office, a, "122", "125")


def paid_first(office: Office) -> None:
    """Before anybody talks."""
    a = office.desk.call("126", "*5127").talks()
    pay(office, a, "126", "127")


def pay(office: Office, caller: Line, number: str, agent: str) -> None:
    key_until_it_rings(office, caller, agent)
    line = answered_by(office.desk, agent)
    office.pauses(number, "payment")
    office.desk.pause(TALK)
    line.key("*9")
    talk(office, number)
    caller.hang_up()


def key_until_it_rings(office: Office, caller: Line, agent: str) -> None:
    """Key the card number when it is asked for; then the agent is called."""
    wait_until(
        lambda: any(
            f"PJSIP/{caller.phone}-" in line and "!Read!" in line
            for line in office.box.asterisk.command("core show channels concise").splitlines()
        ),
        "the card to be asked for",
    )
    caller.key(CARD)
    office.desk.wait(lambda: office.desk.rings(agent), f"{agent} to ring")


def told(office: Office, caller: str, called: str) -> tuple[Path, Path]:
    a = office.desk.call(caller, "*6" + called).talks()
    b = answered_by(office.desk, called)
    office.desk.pause(TALK)
    a.hang_up()
    return a.tape(), b.tape()


def told_later(office: Office) -> tuple[Path, Path]:
    """While they talk already."""
    a, b = connect(office.desk, "129", "133", "*4133")
    office.desk.pause(TALK)
    a.key("*4")
    wait_until(lambda: bool(office.under_way("129")), "the announcement to end")
    office.desk.pause(TALK)
    a.hang_up()
    return a.tape(), b.tape()


def beeped(office: Office) -> tuple[Path, Path]:
    a, b = connect(office.desk, "134", "135")
    office.desk.pause(5)
    a.hang_up()
    return a.tape(), b.tape()


LANES: Mapping[str, Callable[[Office], object]] = {
    "attended": attended,
    "blind": blind,
    "held": held,
    "parked": parked,
    "conference": conference,
    "by hand": by_hand,
    "rfc4733": lambda office: keyed(office, "116", "117", "rfc4733"),
    "info": lambda office: keyed(office, "118", "119", "info"),
    "inband": lambda office: keyed(office, "120", "121", "inband"),
    "paid": paid,
    "paid first": paid_first,
    "english": lambda office: told(office, "130", "131"),
    "german": lambda office: told(office, "128", "136"),
    "told later": told_later,
    "beeped": beeped,
}
TAPING = ("128", "129", "130", "131", "133", "134", "135", "136")
