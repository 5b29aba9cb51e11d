"""One call's FastAGI session: what an application may do with the call, as typed verbs.

Each verb sends one command and waits for its answer. Errors carry the names that pyst2's users know: AGIHangup and its
kinds when the caller is gone, AGIAppError when an application fails, AGITimeout when Asterisk owes an answer for too long;
CommandError is our own mistake and nothing was sent. Digits that were keyed are values of these verbs and are logged
nowhere.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from pbxd.agi.wire import Environment, Reply, encode
from pbxd.errors import (
    AGIAppError,
    AGIDBError,
    AGIHangup,
    AGIInvalidCommand,
    AGIResultHangup,
    AGISIGHUPHangup,
    AGIUnknownError,
    AGIUsageError,
    CommandError,
)

KEYS = "0123456789*#ABCD"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\([^(){}$\"\\]*\))?")  # X, CALLERID(num), MESSAGE(body)
DATABASE_NAME = re.compile(r"[^\s(){}$,:\"\\]{1,200}")
SCRIPT = re.compile(rb"^agi_network_script: ?([^\r\n]*)", re.MULTILINE)
APPLICATION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
MARK_BYTES = 12  # of randomness: a caller who wants to end a value early would have to guess it


class Channel(Protocol):
    """The connection to Asterisk under a session."""

    on_hangup: Callable[[], None] | None  # called when Asterisk says HANGUP
    on_stray: Callable[[bytes], None] | None  # takes lines that answer nothing; without it they end the session

    @property
    def hung_up(self) -> bool:
        """Whether Asterisk said HANGUP."""

    async def ask(self, line: bytes, mark: bytes | None = None, *, slow: bool = False) -> Reply:
        """Send a command and give its answer.

        `slow` commands take as long as the caller does: they have no limit but the session's own. AGITimeout, AGISIGPIPEHangup
        if the connection ends, AGIUnknownError if the peer breaks the protocol.
        """


NOTHING = Environment(b"\n")


@dataclass(frozen=True, slots=True)
class Request:
    """What the dialplan asked for: `agi://host/NAME?key=value,first,second`."""

    name: str
    query: Mapping[str, str] = field(default_factory=dict)  # what stands behind `?`
    arguments: tuple[str, ...] = ()  # what stands behind the first comma of AGI(): agi_arg_1, …
    environment: Environment = NOTHING

    @property
    def values(self) -> Mapping[str, str]:
        """Asterisk's environment, by names without agi_."""
        return self.environment.values

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self.environment.get("channel") or ""

    @property
    def uniqueid(self) -> str:
        """The channel's id."""
        return self.values.get("uniqueid", "")

    @property
    def caller(self) -> str:
        """The caller's number; empty if it is withheld."""
        number = self.environment.get("callerid") or ""
        return "" if number == "unknown" else number


def request_of(environment: Environment) -> Request:
    """What an environment asks for. The name is as the dialplan wrote it, without a leading slash."""
    script = SCRIPT.search(environment.raw)
    name, _, query = script[1].decode("utf-8", "surrogateescape").partition("?") if script else ("", "", "")
    arguments: list[str] = []
    if b"\nagi_arg_1:" in environment.raw:
        while (word := environment.values.get(f"arg_{len(arguments) + 1}")) is not None:
            arguments.append(word)
    pairs = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=64, errors="replace")) if query else {}
    return Request(name.strip("/"), pairs, tuple(arguments), environment)


@dataclass(frozen=True, slots=True)
class Recording:
    """What RECORD FILE tells: why it ended (`dtmf`, `timeout`, `hangup`, `silence`, …), the key, and the length in samples."""

    ended: str
    key: str
    samples: int


class Session:
    """The verbs. `request` is what the dialplan asked for."""

    __slots__ = ("_channel", "request")

    def __init__(self, channel: Channel, request: Request) -> None:
        self._channel = channel
        self.request = request

    @property
    def hung_up(self) -> bool:
        """Whether Asterisk said that the channel is gone."""
        return self._channel.hung_up

    async def command(
        self, name: str, *arguments: str | int, mark: bytes | None = None, slow: bool = False, dead: bool = False
    ) -> Reply:
        """Send any command and give its answer. `dead`: Asterisk takes it on a channel that is gone, too."""
        line = encode(name, *arguments)
        if self._channel.hung_up and not dead:
            raise AGISIGHUPHangup(f"{name}: the caller has hung up")
        return checked(name, await self._channel.ask(line, mark, slow=slow))

    async def relay(self, line: bytes) -> Reply:
        """Send a line as it is and give its answer, whatever it is: for programs that speak AGI themselves."""
        return await self._channel.ask(line + b"\n", slow=True)

    @contextlib.contextmanager
    def relaying(self, on_hangup: Callable[[], None], on_stray: Callable[[bytes], None]) -> Iterator[None]:
        """Meanwhile, tell of a hang-up (at once if it was before) and of lines that answer nothing."""
        self._channel.on_hangup, self._channel.on_stray = on_hangup, on_stray
        try:
            if self.hung_up:
                on_hangup()
            yield
        finally:
            self._channel.on_hangup = self._channel.on_stray = None

    async def _play(self, name: str, *arguments: str | int) -> str:
        """A command that plays and may be ended by a key; the key, or an empty text."""
        answer = await self.command(name, *arguments, slow=True)
        return key_of(name, answer, hung_up=self.hung_up)

    async def answer(self) -> None:
        """Answer the channel, if it is not answered yet."""
        await self._must("ANSWER")

    async def hangup(self, channel: str = "") -> None:
        """Hang up this channel, or the one of that name."""
        await self._must("HANGUP", *((channel,) if channel else ()))

    async def _must(self, name: str, *arguments: str | int, slow: bool = False) -> Reply:
        answer = await self.command(name, *arguments, slow=slow)
        if answer.raw.startswith(b"200 result=-1"):
            raise _failed(name, answer, hung_up=self.hung_up)
        return answer

    async def stream_file(self, file: str, escape: str = "", offset: int = 0) -> str:
        """Play a sound, from `offset` samples on; the key of `escape` that ended it. AGIAppError if there is no such sound."""
        return await self._play("STREAM FILE", file, keys(escape), offset)

    async def control_stream_file(self, file: str, escape: str = "", skip: int = 3000) -> str:
        """Play a sound that * and # wind by `skip` ms; the key of `escape` that ended it."""
        return await self._play("CONTROL STREAM FILE", file, keys(escape), skip)

    async def get_data(self, file: str, timeout: float = 5.0, digits: int = 20) -> str:  # noqa: ASYNC109 - Asterisk's own
        """Play a sound and take up to `digits` keys, ended by #; `timeout` seconds for each key. What was keyed."""
        answer = await self._must("GET DATA", file, round(timeout * 1000), digits, slow=True)
        return answer.result

    async def wait_for_digit(self, timeout: float = 5.0) -> str:  # noqa: ASYNC109
        """The next key within `timeout` seconds (-1: for ever); empty if none came."""
        return await self._play("WAIT FOR DIGIT", -1 if timeout < 0 else round(timeout * 1000))

    async def say_number(self, number: int, escape: str = "") -> str:
        """Say a number in the channel's language."""
        return await self._play("SAY NUMBER", number, keys(escape))

    async def say_digits(self, digits: str, escape: str = "") -> str:
        """Say digits one by one."""
        return await self._play("SAY DIGITS", digits, keys(escape))

    async def say_alpha(self, text: str, escape: str = "") -> str:
        """Spell a text."""
        return await self._play("SAY ALPHA", text, keys(escape))

    async def say_phonetic(self, text: str, escape: str = "") -> str:
        """Spell a text by the alphabet of radio."""
        return await self._play("SAY PHONETIC", text, keys(escape))

    async def say_datetime(
        self, epoch: int, escape: str = "", form: str = "ABdY 'digits/at' IMp", zone: str = ""
    ) -> str:
        """Say a moment."""
        return await self._play("SAY DATETIME", epoch, keys(escape), form, *((zone,) if zone else ()))

    async def record_file(
        self, file: str, form: str, escape: str, longest: float, *, beep: bool = True, silence: int = 0
    ) -> Recording:
        """Record the caller into `file`, at most `longest` seconds (-1: no limit), until a key of `escape` or `silence` seconds."""
        words: list[str | int] = [file, form, keys(escape), -1 if longest < 0 else round(longest * 1000)]
        words += [0, *(("BEEP",) if beep else ()), *((f"s={silence}",) if silence else ())]
        answer = await self.command("RECORD FILE", *words, slow=True)
        if answer.result == "-1" and answer.value != "hangup":
            raise _failed("RECORD FILE", answer, hung_up=self.hung_up)
        key = chr(int(answer.result)) if answer.value == "dtmf" and answer.result.isdecimal() else ""
        return Recording(answer.value or "", key, _number("RECORD FILE", answer.word("endpos") or "0"))

    async def set_variable(self, name: str, value: str | int) -> None:
        """Set a channel variable or function, on a dead channel too."""
        await self.command("SET VARIABLE", variable(name), str(value), dead=True)

    async def get_variable(self, name: str) -> str:
        """The value of a variable or function of this channel, whatever it holds; empty if it is not set."""
        return await self.get_full_variable(f"${{{variable(name)}}}")

    async def get_full_variable(self, expression: str, channel: str = "") -> str:
        """What a dialplan's expression comes to, as `${CALLERID(num)}`, here or on another channel; line breaks and all.

        A mark that nobody can guess is put behind it and ends the value (see `wire`). Not BASE64_ENCODE(): Asterisk 22 cuts
        what it is given at a `)` before a `:`. AGIAppError if there is no such channel.
        """
        mark = secrets.token_hex(MARK_BYTES)
        words = (expression + mark, *((channel,) if channel else ()))
        answer = await self.command("GET FULL VARIABLE", *words, mark=mark.encode(), dead=True)
        if answer.value is None:
            raise AGIAppError(f"GET FULL VARIABLE: no channel {channel}" if channel else "GET FULL VARIABLE failed")
        return answer.value

    async def exec(self, application: str, *options: str) -> int:
        """Run a dialplan application; its result, of which -1 is a failure or a hang-up.

        AGIAppError if there is none such, AGIResultHangup if the caller is gone. Options are joined by commas: one that holds a
        comma is refused (CommandError), so that what a caller or a file says cannot become another option.
        """
        if not APPLICATION.fullmatch(application):
            raise CommandError(f"{application!r} is the name of no application")
        if len(options) > 1 and any("," in option for option in options):
            raise CommandError(f"an option of {application} holds a comma; it is not sent")
        answer = await self.command(f"EXEC {application}", ",".join(options), slow=True, dead=True)
        if answer.result == "-2":
            raise AGIAppError(f"Asterisk has no application {application}")
        if answer.result == "-1" and self.hung_up:
            raise AGIResultHangup(f"EXEC {application}: the caller has hung up")
        return _number("EXEC", answer.result)

    async def verbose(self, message: str, level: int = 1) -> None:
        """Write to Asterisk's console; line breaks become spaces."""
        await self.command("VERBOSE", " ".join(message.splitlines()), level, dead=True)

    async def noop(self) -> None:
        """Do nothing but wait for Asterisk's answer."""
        await self.command("NOOP", dead=True)

    async def channel_status(self, channel: str = "") -> int:
        """State of this channel or another (0 down, 4 ringing, 6 up, 7 busy); -1 if there is none such."""
        return _number(
            "CHANNEL STATUS", (await self.command("CHANNEL STATUS", *((channel,) if channel else ()))).result
        )

    async def set_callerid(self, number: str) -> None:
        """Set the caller's number and name, as `Name <number>`."""
        await self.command("SET CALLERID", number)

    async def database_get(self, family: str, key: str) -> str:
        """A value of Asterisk's database, line breaks and all. AGIDBError if the key is not there."""
        place = f"{database_name(family)}/{database_name(key)}"
        found = await self.get_full_variable(f"${{DB_EXISTS({place})}}${{DB({place})}}")
        if not found.startswith("1"):
            raise AGIDBError(f"Asterisk's database has no {place}")
        return found[1:]

    async def database_put(self, family: str, key: str, value: str) -> None:
        """Write a value of Asterisk's database."""
        await self._database("DATABASE PUT", database_name(family), database_name(key), value)

    async def database_del(self, family: str, key: str) -> None:
        """Delete a key of Asterisk's database. AGIDBError if it is not there."""
        await self._database("DATABASE DEL", database_name(family), database_name(key))

    async def database_deltree(self, family: str, key: str = "") -> None:
        """Delete a family of Asterisk's database, or a tree in it. AGIDBError if it is not there."""
        await self._database("DATABASE DELTREE", database_name(family), *((database_name(key),) if key else ()))

    async def _database(self, name: str, *words: str) -> None:
        answer = await self.command(name, *words, dead=True)
        if answer.result != "1":
            raise AGIDBError(f"{name} {'/'.join(words[:2])}: Asterisk refuses it")


def checked(name: str, answer: Reply) -> Reply:
    """The answer, if it is that of a command that Asterisk has carried out; else the error that its code stands for."""
    code = answer.code
    if code == 200:
        return answer
    if code == 510:
        raise AGIInvalidCommand(f"{name}: {answer.text}")
    if code == 511:
        raise AGIHangup(f"{name}: the channel is dead")
    if code == 520:
        raise AGIUsageError(f"{name}: {answer.text[:1000]}")
    raise AGIUnknownError(f"{name}: unknown answer {answer.text[:80]!r}")


def _failed(name: str, answer: Reply, *, hung_up: bool) -> AGIAppError:
    """The error for result -1: a hang-up, if we know of one, else a failure."""
    if hung_up or answer.value == "hangup":
        return AGIResultHangup(f"{name}: the caller has hung up")
    return AGIAppError(f"{name} failed, or the caller has hung up" + (f" ({answer.value})" if answer.value else ""))


def _number(name: str, result: str) -> int:
    try:
        return int(result)
    except ValueError as error:
        raise AGIUnknownError(f"{name}: the result {result!r} is no number") from error


def key_of(name: str, answer: Reply, *, hung_up: bool) -> str:
    """The key whose code is the result; empty for none. AGIResultHangup or AGIAppError for -1."""
    code = _number(name, answer.result)
    if code == -1:
        raise _failed(name, answer, hung_up=hung_up)
    if not 0 <= code < 128:
        raise AGIUnknownError(f"{name}: the result {code} is no key")
    return chr(code) if code else ""


def keys(text: str) -> str:
    """Keys that may end something. CommandError if one is none."""
    if set(text) - set(KEYS):
        raise CommandError(f"{text!r} holds what is no key of a phone")
    return text


def variable(name: str) -> str:
    """The name of a variable or function. CommandError if it is none, or could hold another expression."""
    if not VARIABLE.fullmatch(name):
        raise CommandError(f"{name!r} is the name of no variable")
    return name


def database_name(name: str) -> str:
    """A family or key of Asterisk's database. CommandError if a dialplan's expression could not hold it."""
    if not DATABASE_NAME.fullmatch(name):
        raise CommandError(f"{name!r} is no key of Asterisk's database")
    return name
