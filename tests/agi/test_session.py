"""Each verb: the command that it sends, what it makes of the answer, and the error that an answer stands for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pbxd import errors
from pbxd.agi.session import Recording, Session
from pbxd.agi.wire import Reply
from tests.agi.peers import STATUS, serving

Verb = Callable[[Any], Awaitable[Any]]
VERBS: list[tuple[Verb, str, str, Any]] = [
    (lambda s: s.answer(), "ANSWER", "200 result=0", None),
    (lambda s: s.hangup(), "HANGUP", "200 result=1", None),
    (lambda s: s.stream_file("hello", "1#", 80), 'STREAM FILE "hello" "1#" 80', "200 result=35 endpos=800", "#"),
    (lambda s: s.stream_file("hello"), 'STREAM FILE "hello" "" 0', "200 result=0 endpos=800", ""),
    (lambda s: s.get_data("x", 1.5, 4), 'GET DATA "x" 1500 4', "200 result=47 (timeout)", "47"),
    (lambda s: s.get_data("x"), 'GET DATA "x" 5000 20', "200 result= (timeout)", ""),
    (lambda s: s.wait_for_digit(-1), "WAIT FOR DIGIT -1", "200 result=42", "*"),
    (lambda s: s.say_number(7), 'SAY NUMBER 7 ""', "200 result=0", ""),
    (lambda s: s.say_digits("12", "*"), 'SAY DIGITS "12" "*"', "200 result=42", "*"),
    (lambda s: s.say_alpha("ab"), 'SAY ALPHA "ab" ""', "200 result=0", ""),
    (lambda s: s.say_phonetic("ab"), 'SAY PHONETIC "ab" ""', "200 result=0", ""),
    (lambda s: s.say_datetime(9, zone="UTC"), "SAY DATETIME 9 \"\" \"ABdY 'digits/at' IMp\" \"UTC\"", "200 result=0", ""),
    (lambda s: s.control_stream_file("a"), 'CONTROL STREAM FILE "a" "" 3000', "200 result=0", ""),
    (lambda s: s.set_variable("CALLERID(name)", 'a "b"'), 'SET VARIABLE "CALLERID(name)" "a \\"b\\""', "200 result=1", None),
    (lambda s: s.exec("Dial", "PJSIP/1", "30"), 'EXEC Dial "PJSIP/1,30"', "200 result=0", 0),
    (lambda s: s.verbose("a\nb", 3), 'VERBOSE "a b" 3', "200 result=1", None),
    (lambda s: s.noop(), "NOOP", "200 result=0", None),
    (lambda s: s.channel_status(), "CHANNEL STATUS", "200 result=6", 6),
    (lambda s: s.set_callerid("Zoë <1>"), 'SET CALLERID "Zoë <1>"', "200 result=1", None),
    (lambda s: s.database_put("f", "k", "v"), 'DATABASE PUT "f" "k" "v"', "200 result=1", None),
    (lambda s: s.database_del("f", "k"), 'DATABASE DEL "f" "k"', "200 result=1", None),
    (lambda s: s.database_deltree("f"), 'DATABASE DELTREE "f"', "200 result=1", None),
    (
        lambda s: s.record_file("/a", "wav", "#", 3, silence=2),
        'RECORD FILE "/a" "wav" "#" 3000 0 "BEEP" "s=2"',
        "200 result=35 (dtmf) endpos=8000",
        Recording("dtmf", "#", 8000),
    ),
    (
        lambda s: s.record_file("/a", "wav", "#", -1, beep=False),
        'RECORD FILE "/a" "wav" "#" -1 0',
        "200 result=-1 (hangup) endpos=10",
        Recording("hangup", "", 10),
    ),
]  # fmt: skip
FAULTS: list[tuple[Verb, str, str]] = [
    (lambda s: s.answer(), "510 Invalid or unknown command", "AGIInvalidCommand"),
    (lambda s: s.answer(), "511 Command Not Permitted on a dead channel", "AGIHangup"),
    (lambda s: s.answer(), "520-x\nusage\n520 End of proper usage.", "AGIUsageError"),
    (lambda s: s.answer(), "999 what", "AGIUnknownError"),
    (lambda s: s.answer(), "200 result=-1", "AGIAppError"),
    (lambda s: s.stream_file("x"), "200 result=-1 endpos=0", "AGIAppError"),
    (lambda s: s.stream_file("x"), "200 result=x", "AGIUnknownError"),
    (lambda s: s.stream_file("x"), "200 result=4711", "AGIUnknownError"),
    (lambda s: s.record_file("/a", "wav", "#", 1), "200 result=-1 (writefile)", "AGIAppError"),
    (lambda s: s.exec("Nothing"), "200 result=-2", "AGIAppError"),
    (lambda s: s.database_put("f", "k", "v"), "200 result=0", "AGIDBError"),
    (lambda s: s.get_full_variable("${X}", "PJSIP/none"), "200 result=0", "AGIAppError"),
]
REFUSED: list[Verb] = [
    lambda s: s.set_variable("A)b", "x"),
    lambda s: s.set_variable("A\nHANGUP", "x"),
    lambda s: s.get_variable("${SHELL(rm)}"),
    lambda s: s.get_variable("DB(${X})"),
    lambda s: s.exec("System x", "y"),
    lambda s: s.exec("Dial", "a,b", "c"),
    lambda s: s.stream_file("x", "1x"),
    lambda s: s.database_get("a b", "c"),
    lambda s: s.database_get("a", "c)}${SHELL(x"),
    lambda s: s.database_put("f", "k", "a\nb"),
]


class Line:
    """A channel whose answers are written down before."""

    hung_up = False
    on_hangup = on_stray = None

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.sent: list[str] = []

    async def ask(self, line: bytes, mark: bytes | None = None, *, slow: bool = False) -> Reply:
        assert mark is None or slow is False
        self.sent.append(line.decode().removesuffix("\n"))
        return Reply(int(self.answer[:3]), self.answer.encode())


@pytest.mark.parametrize(("verb", "line", "answer", "value"), VERBS)
async def test_verbs(verb: Verb, line: str, answer: str, value: object) -> None:
    channel = Line(answer)
    assert await verb(Session(channel, None)) == value  # type: ignore[arg-type]  # verbs do not look at the request
    assert channel.sent == [line]


@pytest.mark.parametrize(("verb", "answer", "name"), FAULTS)
async def test_faults(verb: Verb, answer: str, name: str) -> None:
    with pytest.raises(errors.AGIError) as raised:
        await verb(Session(Line(answer), None))  # type: ignore[arg-type]
    assert type(raised.value).__name__ == name


@pytest.mark.parametrize("verb", REFUSED)
async def test_what_is_not_sent(verb: Verb) -> None:
    channel = Line("200 result=1")
    with pytest.raises(errors.CommandError):
        await verb(Session(channel, None))  # type: ignore[arg-type]
    assert channel.sent == []


async def test_after_a_hangup_only_what_a_dead_channel_takes() -> None:
    channel = Line("200 result=1")
    channel.hung_up = True
    session = Session(channel, None)  # type: ignore[arg-type]
    with pytest.raises(errors.AGISIGHUPHangup):
        await session.answer()
    await session.set_variable("X", "1")
    assert channel.sent == ['SET VARIABLE "X" "1"']


async def test_a_key_of_the_database_that_is_not_there() -> None:
    async def looks(session: Any, _request: Any, _services: Any) -> None:
        await session.database_get("f", "k")

    def answer(line: str) -> bytes:
        if not line.startswith("GET FULL VARIABLE"):
            return b"200 result=1\n"
        mark = line.rstrip('"').rpartition("}")[2]
        return f"200 result=1 (0{mark})\n".encode()

    async with serving({"looks": looks}) as host:
        assert (await host.session("looks", answer=answer))[-1] == STATUS("ERROR")


def test_the_names_are_those_of_pyst2() -> None:
    from asterisk import agi  # noqa: PLC0415 - what customers' scripts know

    for name, theirs in vars(agi).items():
        if isinstance(theirs, type) and issubclass(theirs, agi.AGIException):
            ours = getattr(errors, name)
            assert issubclass(ours, errors.PbxdError)
            assert {base.__name__ for base in theirs.__mro__[:-3]} <= {base.__name__ for base in ours.__mro__}
