"""Transfers: blind and attended, by SIP REFER and by feature code, of each kind that Asterisk tells apart."""

from __future__ import annotations

from lab.ari import Program
from lab.desk import Desk, Line
from lab.staged import TALK, Cast, Staged


def connect(desk: Desk, caller: str, called: str, dial: str = "") -> tuple[Line, Line]:
    """`caller` and `called` talk with one another."""
    desk.phone(called)
    ours = desk.call(caller, dial or called)
    theirs = desk.incoming(called).answer()
    ours.talks()
    desk.pause(TALK)
    return ours, theirs


def answered_by(desk: Desk, phone: str) -> Line:
    """`phone` rings and takes the call; they talk."""
    line = desk.incoming(phone).answer()
    desk.pause(TALK)
    return line


def prepare(desk: Desk, cast: Cast) -> None:
    """All phones of the lane are on the desk."""
    for number in cast.values():
        desk.phone(number)


def blind_to_queue(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("323").hang_up()
    answered_by(desk, cast["C"])
    a.hang_up()


def blind_to_voicemail(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("401").hang_up()
    desk.pause(3)
    a.hang_up()


def blind_to_trunk(desk: Desk, cast: Cast) -> None:
    desk.carrier()
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("95550101").hang_up()
    answered_by(desk, "carrier")
    a.hang_up()


def blind_comes_back(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("83" + cast["D"][1:]).hang_up()
    desk.incoming(cast["D"]).ended()
    answered_by(desk, cast["B"])
    a.hang_up()


def blind_of_blind(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer(cast["C"]).hang_up()
    c = answered_by(desk, cast["C"])
    c.refer(cast["D"]).hang_up()
    answered_by(desk, cast["D"])
    a.hang_up()


def blind_by_caller(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    a.refer(cast["C"]).hang_up()
    answered_by(desk, cast["C"])
    b.hang_up()


def blind_by_code(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"], "8" + cast["B"])
    b.key("##")
    desk.pause(1.2)
    b.key(cast["C"])
    answered_by(desk, cast["C"])
    a.hang_up()


def attended(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    second, _ = connect(desk, cast["B"], cast["C"])
    b.replace(second)
    desk.pause(TALK)
    a.hang_up()


def attended_to_application(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    second = desk.call(cast["B"], "800").talks()
    b.replace(second)
    desk.pause(TALK)
    a.hang_up()


def attended_to_waiting_queue(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    second = desk.call(cast["B"], "322").talks()
    waiting = desk.incoming(cast["C"])
    b.replace(second)
    desk.pause(TALK)
    waiting.answer()
    desk.pause(TALK)
    a.hang_up()


def attended_blonde(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    second = desk.call(cast["B"], cast["C"])
    third = desk.incoming(cast["C"])
    second.rings_back()
    b.replace(second)
    desk.pause(TALK)
    third.answer()
    desk.pause(TALK)
    a.hang_up()


def attended_to_conference(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    c = desk.call(cast["C"], "821").talks()
    second = desk.call(cast["B"], "821").talks()
    desk.pause(TALK)
    b.replace(second)
    desk.pause(TALK)
    a.hang_up()
    c.hang_up()


def attended_link(desk: Desk, cast: Cast) -> None:
    """Both calls of the transferor are in a program's bridges, which cannot become one: Asterisk links them by a Local channel."""
    program = Program(desk.asterisk)
    try:
        lines = []
        for pair in ("AB", "CB"):
            room = program.room()
            for role in pair:
                lines.append(desk.call(cast[role], "850"))
                program.take(room, f"PJSIP/{cast[role]}")
                lines[-1].talks()
            desk.pause(TALK)
        a, b, c, second = lines
        b.replace(second)
        desk.pause(TALK)
        a.hang_up()
        c.hang_up()
    finally:
        program.close()


def attended_by_code(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"], "8" + cast["B"])
    b.key("*2")
    desk.pause(1.2)
    b.key(cast["C"])
    answered_by(desk, cast["C"])
    b.hang_up()
    desk.pause(TALK)
    a.hang_up()


def attended_by_code_blonde(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"], "8" + cast["B"])
    b.key("*2")
    desk.pause(1.2)
    b.key(cast["C"])
    c = desk.incoming(cast["C"])
    desk.pause(TALK)
    b.hang_up()
    desk.pause(TALK)
    c.answer()
    desk.pause(TALK)
    a.hang_up()


def attended_by_code_conference(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"], "8" + cast["B"])
    b.key("*2")
    desk.pause(1.2)
    b.key(cast["C"])
    answered_by(desk, cast["C"])
    b.key("*3")
    desk.pause(2 * TALK)
    b.hang_up()
    desk.pause(TALK)
    a.hang_up()


def attended_by_code_refused(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"], "8" + cast["B"])
    b.key("*2")
    desk.pause(1.2)
    b.key(cast["C"])
    desk.incoming(cast["C"]).refuse(486)
    desk.pause(2)
    a.hang_up()


def attended_then_blind(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    second, c = connect(desk, cast["B"], cast["C"])
    b.replace(second)
    desk.pause(TALK)
    c.refer(cast["D"]).hang_up()
    answered_by(desk, cast["D"])
    a.hang_up()


def two_callers_joined(desk: Desk, cast: Cast) -> None:
    """B has two calls on its lines, and connects the two callers with one another."""
    a, first = connect(desk, cast["A"], cast["B"])
    first.hold()
    c, second = connect(desk, cast["C"], cast["B"])
    second.replace(first)
    desk.pause(TALK)
    a.hang_up()
    c.ended()


TRANSFERS = (
    Staged("blind-to-queue", "transferred blindly into a queue", "first", blind_to_queue,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "dialled": "{B}", "caller_number": "{A}"},
           (("A", True), ("B", True), ("C", True)), (("desk3", "answered"),), (("blind", "323"),)),
    Staged("blind-to-voicemail", "transferred blindly to a mailbox", "second", blind_to_voicemail,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "mailbox": "101@default", "hung_up_by": "caller"},
           (("A", True), ("B", True)), (), (("blind", "401"),), ("blind_transfer", "voicemail")),
    Staged("blind-to-trunk", "transferred blindly to an outside number", "third", blind_to_trunk,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "direction": "outbound"},
           (("A", True), ("B", True), ("PJSIP/trunk-carrier", True)), (), (("blind", "95550101"),)),
    Staged("blind-comes-back", "transferred to a phone that does not answer; comes back to who transferred", "first",
           blind_comes_back, {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", True), ("D", False)), (), (("blind", "8324"),)),
    Staged("blind-of-blind", "transferred, and transferred again", "second", blind_of_blind,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "dialled": "{B}"},
           (("A", True), ("B", True), ("C", True), ("D", True)), (), (("blind", "{C}"), ("blind", "{D}"))),
    Staged("blind-by-caller", "the caller transfers the called one", "third", blind_by_caller,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "caller_number": "{A}"},
           (("A", True), ("B", True), ("C", True)), (), (("blind", "{C}"),)),
    Staged("blind-by-code", "transferred blindly by feature code", "second", blind_by_code,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True)), (), (("blind", "{C}"),)),
    Staged("attended", "asked first, then transferred", "third", attended,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "dialled": "{B}", "caller_number": "{A}"},
           (("A", True), ("B", True), ("B", True), ("C", True)), (), (("attended", "{C}"),)),
    Staged("attended-to-application", "transferred to an application", "second", attended_to_application,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", False)), (), (("attended", "800"),)),
    Staged("attended-to-queue", "transferred into the place that was held in a queue", "queues", attended_to_waiting_queue,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", False), ("C", True)), (("desk2", "answered"),), (("attended", "322"),)),
    Staged("attended-blonde", "transferred while it still rings", "first", attended_blonde,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", False), ("C", True)), (), (("attended", "{C}"),)),
    Staged("attended-to-conference", "transferred into a conference", "third", attended_to_conference,
           {"disposition": "answered", "caller_number": "{A}", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", True), ("C", True)), (), (("attended", "821"),)),
    Staged("attended-link", "transferred between two calls that a program holds: linked by a Local channel", "third", attended_link,
           {"disposition": "answered", "caller_number": "{A}", "answered_by": "PJSIP/{B}", "dialled": "850"},
           (("A", True), ("B", True), ("B", True), ("C", True)), (), (("attended", "850"),)),
    Staged("attended-by-code", "asked first, then transferred, by feature code", "second", attended_by_code,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True)), (), (("attended", "{C}"),)),
    Staged("attended-by-code-blonde", "transferred while it still rings, by feature code", "third", attended_by_code_blonde,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True)), (), (("attended", "{C}"),)),
    Staged("attended-by-code-conference", "asked first, then all three talk", "first", attended_by_code_conference,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True)), (), (("attended", "{C}"),)),
    Staged("attended-by-code-refused", "the third is busy: the two go on", "second", attended_by_code_refused,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "hung_up_by": "caller"},
           (("A", True), ("B", True), ("C", False)), (), ()),
    Staged("attended-then-blind", "transferred attended, and then blindly", "third", attended_then_blind,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", True), ("C", True), ("D", True)), (),
           (("attended", "{C}"), ("blind", "{D}"))),
    Staged("two-callers-joined", "two callers become one call by a late transfer", "second", two_callers_joined,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "caller_number": "{A}"},
           (("A", True), ("B", True), ("B", True), ("C", True)), (), (("attended", "{A}"),)),
)  # fmt: skip
