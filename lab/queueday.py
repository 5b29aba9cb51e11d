"""A busy day of a queue in some two minutes: many callers with more or less patience, six agents with their habits."""

from __future__ import annotations

import threading
import time

from lab.box import Box
from lab.phones import Handset
from lab.sip import Called, Caller, Phone

CALLS = 330
RATE = 0.8  # calls a second, of each kind of caller
PATIENCE = (1800, 4200, 7500)  # ms that a kind of caller stays, talking or waiting
AGAIN = 5.0  # s after which somebody calls again
MANY = ("-m", "100000", "-timeout", "600s")
BREAKS = (  # seconds from the beginning, what the agent does
    (8, "queue pause member PJSIP/133 queue day reason lunch"),
    (20, "queue pause member PJSIP/134 queue day reason coffee"),
    (31, "queue unpause member PJSIP/134 queue day"),
    (44, "queue unpause member PJSIP/133 queue day"),
    (50, "queue pause member PJSIP/133 queue day reason coffee"),
    (57, "queue unpause member PJSIP/133 queue day"),
    (60, "queue remove member PJSIP/138 from day"),
    (80, "queue add member PJSIP/138 to day"),
    (90, "queue pause member PJSIP/135 queue day reason lunch"),
    (105, "queue unpause member PJSIP/135 queue day"),
)


def agents() -> list[Phone]:
    """Four who answer, one who transfers to a phone, one who passes callers on to a second queue; and who is behind those two."""
    usual = [Called(str(number)).ring().wait(250).answer().end_within(2500) for number in (133, 134, 135)]
    slow = Called("136").ring().wait(2600).answer().end_within(2500)  # longer than the queue lets it ring
    to_phone = Called("137").ring().wait(250).answer().wait(700).refer("140").wait(400).bye()
    to_queue = Called("138").ring().wait(250).answer().wait(700).refer("341").wait(400).bye()
    behind = [Called(number).ring().wait(200).answer().end_within(1500) for number in ("139", "140")]
    return [*usual, slow, to_phone, to_queue, *behind]


def callers(box: Box) -> list[Handset]:
    """Three kinds of callers. The third kind has the numbers of the first: the same people call again, some seconds later."""
    count = ("-m", str(CALLS // len(PATIENCE)), "-r", str(RATE), "-l", "1000", "-timeout", "600s")
    started = []
    for place, patience in enumerate(PATIENCE):
        if place == 2:
            time.sleep(AGAIN)
        caller = Caller(f"49{place % 2}[call_number]").answered().end_within(patience)
        ports = ("-p", str(5070 + place), "-mp", str(30000 + 2000 * place))
        started.append(box.phones.start(caller, "555340", address=box.asterisk.provider, options=(*count, *ports)))
    return started


def live_through(box: Box) -> None:
    """The whole day; all calls are over when this returns."""
    staff = [box.phones.start(phone, options=MANY) for phone in agents()]
    day_is_over = threading.Event()

    def take_breaks() -> None:
        start = time.monotonic()
        for second, command in BREAKS:
            if day_is_over.wait(max(0.0, start + second - time.monotonic())):
                return
            box.asterisk.command(command)

    breaks = threading.Thread(target=take_breaks)
    breaks.start()
    try:
        for caller in callers(box):
            caller.process.wait(600)  # a caller and an agent may hang up at the same moment: SIPp calls that a failure
    finally:
        day_is_over.set()
        breaks.join()
        for phone in staff:
            phone.stop()
