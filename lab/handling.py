"""What phones do beside transfers: pickup, parking, forwarding, groups, calls that a program places, conferences, hold."""

from __future__ import annotations

from lab.desk import Desk
from lab.staged import TALK, Cast, Staged
from lab.transfers import answered_by, connect


def pickup_directed(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], cast["B"])
    b = desk.incoming(cast["B"])
    desk.call(cast["C"], "*8" + cast["B"]).talks()
    b.ended()
    desk.pause(TALK)
    a.hang_up()


def pickup_group(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], cast["B"])
    b = desk.incoming(cast["B"])
    desk.call(cast["C"], "*8").talks()
    b.ended()
    desk.pause(TALK)
    a.hang_up()


def park_retrieved(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("700").hang_up()
    desk.pause(2 * TALK)
    desk.call(cast["C"], "701").talks()
    desk.pause(TALK)
    a.hang_up()


def park_times_out(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("710").hang_up()
    answered_by(desk, cast["B"])
    a.hang_up()


def park_comes_back_to_another(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("720").hang_up()
    answered_by(desk, cast["C"])
    a.hang_up()


def park_after_transfer(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer(cast["C"]).hang_up()
    c = answered_by(desk, cast["C"])
    c.refer("730").hang_up()
    desk.pause(2 * TALK)
    desk.call(cast["D"], "731").talks()
    desk.pause(TALK)
    a.hang_up()


def park_given_up(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.refer("740").hang_up()
    desk.pause(2 * TALK)
    a.hang_up()


def forward_by_phone(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], cast["B"])
    desk.incoming(cast["B"], ring=False).forward(cast["C"])
    answered_by(desk, cast["C"])
    a.hang_up()


def forward_by_dialplan(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "84" + cast["B"][1:])
    answered_by(desk, cast["B"])
    a.hang_up()


def follow_me(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "220")
    desk.incoming(cast["B"]).ended()
    answered_by(desk, cast["C"])
    a.hang_up()


def hunt_group(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "210")
    desk.incoming(cast["B"]).ended()
    answered_by(desk, cast["C"])
    a.hang_up()


def group_without_answer(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "211")
    for role in ("B", "C", "D"):
        desk.incoming(cast[role])
    a.ended()


def click_to_call(desk: Desk, cast: Cast) -> None:
    desk.asterisk.command(f"channel originate PJSIP/{cast['A']} extension {cast['B']}@phones")
    a = answered_by(desk, cast["A"])
    answered_by(desk, cast["B"])
    a.hang_up()


def click_to_call_not_taken(desk: Desk, cast: Cast) -> None:
    desk.asterisk.command(f"channel originate PJSIP/{cast['A']} extension {cast['B']}@phones")
    desk.incoming(cast["A"]).refuse(486)


def click_to_call_busy(desk: Desk, cast: Cast) -> None:
    desk.asterisk.command(f"channel originate PJSIP/{cast['A']} extension {cast['B']}@phones")
    a = answered_by(desk, cast["A"])
    desk.incoming(cast["B"]).refuse(486)
    a.ended()


def callback(desk: Desk, cast: Cast) -> None:
    """The customer outside is called first, then connected with the phone."""
    desk.carrier()
    desk.asterisk.command(f"channel originate PJSIP/95550102@trunk-carrier extension {cast['B']}@phones")
    customer = answered_by(desk, "carrier")
    answered_by(desk, cast["B"])
    customer.hang_up()


def both_called(desk: Desk, cast: Cast) -> None:
    """A program calls one end, and the other as soon as the first rings; the second answers first."""
    desk.asterisk.call_file(f"Channel: PJSIP/{cast['A']}\nContext: phones\nExtension: {cast['B']}\nEarly_Media: yes\n")
    a = desk.incoming(cast["A"], ring=False).progress()
    b = desk.incoming(cast["B"]).answer()
    desk.pause(TALK)
    a.answer()
    desk.pause(TALK)
    a.hang_up()
    b.ended()


def click_by_local(desk: Desk, cast: Cast) -> None:
    desk.asterisk.command(f"channel originate Local/{cast['A']}@phones extension {cast['B']}@phones")
    a = answered_by(desk, cast["A"])
    answered_by(desk, cast["B"])
    a.hang_up()


def conference(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "820").talks()
    b = desk.call(cast["B"], "820").talks()
    desk.pause(TALK)
    c = desk.call(cast["C"], "820").talks()
    desk.pause(TALK)
    a.hang_up()
    desk.pause(TALK)
    b.hang_up()
    c.hang_up()


def held(desk: Desk, cast: Cast) -> None:
    a, b = connect(desk, cast["A"], cast["B"])
    b.hold()
    desk.pause(1.5)
    b.resume()
    desk.pause(TALK)
    a.hang_up()


def annotated(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "830")
    answered_by(desk, cast["B"])
    a.hang_up()


HANDLING = (
    Staged("pickup-directed", "another phone picks the call up, by number", "first", pickup_directed,
           {"disposition": "answered", "answered_by": "PJSIP/{C}", "dialled": "{B}", "caller_number": "{A}"},
           (("A", True), ("B", False), ("C", True)), told=("pickup",)),
    Staged("pickup-group", "another phone of the group picks the call up", "second", pickup_group,
           {"disposition": "answered", "answered_by": "PJSIP/{C}", "dialled": "{B}", "caller_number": "{A}"},
           (("A", True), ("B", False), ("C", True)), told=("pickup",)),
    Staged("park-retrieved", "parked, and fetched by another", "third", park_retrieved,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True)), (), (("blind", "700"),), ("park_start", "park_end")),
    Staged("park-timed-out", "parked, fetched by nobody, comes back", "second", park_times_out,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("B", True)), (), (("blind", "710"),), ("park_start", "park_end")),
    Staged("park-comes-back-to-another", "parked, fetched by nobody, rings another", "first", park_comes_back_to_another,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True)), (), (("blind", "720"),), ("park_start", "park_end")),
    Staged("park-after-transfer", "transferred, parked there, fetched by a fourth", "third", park_after_transfer,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True), ("D", True)), (), (("blind", "{C}"), ("blind", "730")),
           ("park_start", "park_end")),
    Staged("park-given-up", "parked, and the parked one hangs up", "second", park_given_up,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "hung_up_by": "caller"},
           (("A", True), ("B", True)), (), (("blind", "740"),), ("park_start", "park_end")),
    Staged("forward-by-phone", "the phone sends the caller elsewhere (302)", "third", forward_by_phone,
           {"disposition": "answered", "answered_by": "PJSIP/{C}", "dialled": "{B}"},
           (("A", True), ("B", False), ("C", True)), told=("forward",)),
    Staged("forward-by-dialplan", "the dialplan forwards, by a Local channel", "first", forward_by_dialplan,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"}, (("A", True), ("B", True))),
    Staged("follow-me", "the desk rings, then the mobile", "second", follow_me,
           {"disposition": "answered", "answered_by": "PJSIP/{C}", "dialled": "220"},
           (("A", True), ("B", False), ("C", True))),
    Staged("hunt-group", "one phone after the other", "first", hunt_group,
           {"disposition": "answered", "answered_by": "PJSIP/{C}", "dialled": "210"},
           (("A", True), ("B", False), ("C", True))),
    Staged("group-without-answer", "a ring group in which nobody answers: one missed call", "first", group_without_answer,
           {"disposition": "no_answer", "answered_by": "", "talk_time": 0.0},
           (("A", False), ("B", False), ("C", False), ("D", False))),
    Staged("click-to-call", "a program calls a phone, which then calls another", "second", click_to_call,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "caller_number": "{A}", "dialled": "{B}",
            "direction": "internal"}, (("A", True), ("B", True))),
    Staged("click-to-call-not-taken", "a program calls a phone that is busy", "third", click_to_call_not_taken,
           {"disposition": "busy", "answered_by": "", "talk_time": 0.0}, (("A", False),)),
    Staged("click-to-call-busy", "a program calls a phone, and the other end is busy", "first", click_to_call_busy,
           {"disposition": "busy", "answered_by": "", "caller_number": "{A}", "dialled": "{B}", "talk_time": 0.0},
           (("A", False), ("B", False))),
    Staged("callback", "a program calls a customer outside, then connects a phone", "second", callback,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "dialled": "{B}", "direction": "outbound"},
           (("PJSIP/trunk-carrier", True), ("B", True))),
    Staged("both-called", "a program calls both ends; the second answers first", "third", both_called,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "caller_number": "{A}", "dialled": "{B}"},
           (("A", True), ("B", True))),
    Staged("click-to-call-local", "a program calls a phone by a Local channel, as FreePBX does", "second", click_by_local,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "caller_number": "{A}", "dialled": "{B}"},
           (("A", True), ("B", True))),
    Staged("conference", "three in a conference", "second", conference,
           {"disposition": "answered", "caller_number": "{A}", "dialled": "820", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True))),
    Staged("held", "on hold for a while", "third", held,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"}, (("A", True), ("B", True)),
           told=("answer", "hold", "unhold", "hangup")),
    Staged("annotated", "the dialplan adds to the record", "first", annotated,
           {"disposition": "answered", "answered_by": "PJSIP/{B}", "tags": ["complaint, loud"], "account": "project-7",
            "customer": "C-4711"}, (("A", True), ("B", True))),
)  # fmt: skip
