"""Queues: each strategy, an agent who does not answer, a caller passed out of a queue and into another."""

from __future__ import annotations

from collections.abc import Callable

from lab.desk import Desk
from lab.staged import Cast, Staged
from lab.transfers import answered_by

STRATEGIES = ("ringall", "leastrecent", "fewestcalls", "random", "rrmemory", "rrordered", "linear", "wrandom")


def strategy(number: int) -> Callable[[Desk, Cast], None]:
    """A call to the queue of this strategy. Whom Asterisk rings is its own choice: B is not there, C answers."""

    def play(desk: Desk, cast: Cast) -> None:
        a = desk.call(cast["A"], f"31{number}")
        desk.wait(lambda: any(desk.rings(cast[role]) for role in "BC"), "an agent to ring")
        rung = next(cast[role] for role in "BC" if desk.rings(cast[role]))
        answered_by(desk, rung)
        a.hang_up()

    return play


def ring_no_answer(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "320")
    desk.incoming(cast["B"]).ended()
    while not desk.rings(cast["C"]):  # the queue may try the first again
        if desk.rings(cast["B"]):
            desk.incoming(cast["B"])
        desk.pause(0.1)
    answered_by(desk, cast["C"])
    a.hang_up()


def transferred_out(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "321")
    b = answered_by(desk, cast["B"])
    b.refer(cast["D"]).hang_up()
    answered_by(desk, cast["D"])
    a.hang_up()


def there_and_back(desk: Desk, cast: Cast) -> None:
    a = desk.call(cast["A"], "321")
    b = answered_by(desk, cast["B"])
    b.refer("322").hang_up()
    c = answered_by(desk, cast["C"])
    c.refer("321").hang_up()
    answered_by(desk, cast["B"])
    a.hang_up()


QUEUEING = (
    *(
        Staged(f"queue-{name}", f"a queue of strategy {name}", "queues", strategy(number),
               {"disposition": "answered", "dialled": f"31{number}"}, (), ((f"strategy{number}", "answered"),))
        for number, name in enumerate(STRATEGIES)
    ),
    Staged("queue-ring-no-answer", "the first agent does not answer, the second does", "queues", ring_no_answer,
           {"disposition": "answered", "answered_by": "PJSIP/{C}"}, (), (("desk0", "answered"),)),
    Staged("queue-transferred-out", "an agent transfers the caller out of the queue", "queues", transferred_out,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("D", True)), (("desk1", "answered"),), (("blind", "{D}"),)),
    Staged("queue-there-and-back", "to another queue, and back", "queues", there_and_back,
           {"disposition": "answered", "answered_by": "PJSIP/{B}"},
           (("A", True), ("B", True), ("C", True), ("B", True)),
           (("desk1", "answered"), ("desk2", "answered"), ("desk1", "answered")), (("blind", "322"), ("blind", "321"))),
)  # fmt: skip
