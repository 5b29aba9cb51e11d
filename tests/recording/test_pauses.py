"""Keys, payments and pauses that are asked for, as scenarios."""

from __future__ import annotations

from tests.recording.deciding import SECOND, After, Stage


def test_pause_and_resume() -> None:
    stage = Stage()
    stage.call()
    stage.now += SECOND
    found, commands = stage.recorder.ask("1.2", "pause", stage.now)
    paused = stage.now
    assert found
    stage.do(commands)
    stage.now += SECOND
    stage.do(stage.recorder.ask("1.1", "resume", stage.now)[1])
    assert stage.asked[1:] == ["stop PJSIP/101-00000001", "record PJSIP/101-00000001"]
    stage.hang_up(1, 2)
    assert stage.told()["gaps"] == [[paused, paused + SECOND]]


def test_digits_pause_by_themselves() -> None:
    stage = Stage()
    stage.call()
    pressed = stage.now
    stage.do(stage.recorder.key("1.1", pressed, down=True))
    assert stage.recorder.deadline is None
    stage.do(stage.recorder.key("1.1", pressed + SECOND, down=False))
    stage.do(stage.recorder.key("1.1", pressed + 2 * SECOND, down=True))
    stage.do(stage.recorder.key("1.1", pressed + 3 * SECOND, down=False))
    deadline = stage.recorder.deadline
    assert deadline == pressed + 6 * SECOND
    stage.do(stage.recorder.tick(deadline - 1))
    assert stage.asked[1:] == ["listen PJSIP/101-00000001", "stop PJSIP/101-00000001"]
    stage.do(stage.recorder.tick(deadline))
    assert stage.asked[3:] == ["record PJSIP/101-00000001"]
    stage.now = deadline
    stage.hang_up(1, 2)
    assert stage.told()["gaps"] == [[pressed - 300_000, deadline]]


def test_asterisk_is_told_once_to_listen_for_the_keys_of_a_channel() -> None:
    stage = Stage()
    stage.call()
    for _ in range(3):
        stage.now += 10 * SECOND
        stage.do(stage.recorder.key("1.1", stage.now, down=True))
        stage.do(stage.recorder.key("1.1", stage.now, down=False))
        stage.do(stage.recorder.tick(stage.now + 5 * SECOND))
    assert [what.split()[0] for what in stage.asked] == ["record", "listen", *["stop", "record"] * 3]


def test_digits_do_not_pause_where_the_customer_does_not_want_it() -> None:
    stage = Stage(pause_on_digits=False)
    stage.call()
    assert stage.recorder.key("1.1", stage.now, down=True) == []


def test_a_pause_for_keys_ends_though_nobody_saw_them_let_go() -> None:
    before = Stage()
    before.call()
    before.do(before.recorder.key("1.1", before.now, down=True))
    after = After(before)
    assert after.recorder.deadline == after.now + 3 * SECOND
    after.do(after.recorder.tick(after.now + 3 * SECOND))
    assert after.asked[-1] == "record PJSIP/101-00000001"


def test_nothing_is_recorded_while_somebody_pays() -> None:
    stage = Stage()
    stage.call()
    stage.do(stage.recorder.payment("1.1", stage.now, begins=True))
    assert stage.asked == ["record PJSIP/101-00000001", "stop PJSIP/101-00000001"]
    stage.do(stage.recorder.ask("1.1", "resume", stage.now)[1])
    stage.bridge("", 1, 2)
    stage.hang_up(2)  # transferred to another, who goes on with the payment
    stage.new(3, "PJSIP/103", linked=1)
    stage.bridge("b", 1, 3)
    assert len(stage.asked) == 2
    stage.do(stage.recorder.payment("1.3", stage.now, begins=False))
    assert stage.asked[2:] == ["record PJSIP/101-00000001"]
    stage.hang_up(1, 3)
    ((start, end),) = stage.told()["gaps"]
    assert end > start


def test_a_payment_that_begins_before_anybody_talks() -> None:
    stage = Stage()
    stage.do(stage.recorder.payment("1.1", stage.now, begins=True))  # AGI may be quicker than AMI
    stage.call()
    assert stage.asked == []
    stage.do(stage.recorder.payment("1.1", stage.now, begins=False))
    assert stage.asked == ["record PJSIP/101-00000001"]


def test_a_payment_outlives_pbxd() -> None:
    before = Stage()
    before.call()
    before.do(before.recorder.payment("1.1", before.now, begins=True))
    for segment in before.recorder.recordings["1.1"].segments:
        segment.stopped = True
    after = After(before)
    assert after.asked == []
    after.do(after.recorder.payment("1.2", before.now, begins=False))
    assert after.asked == ["record PJSIP/101-00000001"]
