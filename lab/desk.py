"""Phones that people use: a call is placed, taken, held, transferred, step by step, each step waiting for what it needs.

A `Desk` starts a process for each phone (`lab.softphone`) and reads what happens there.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import soundfile

from lab.asterisk import Asterisk, wait_until
from lab.tree import LabError, environment

PATIENCE = 15.0  # s for a step to come about; a phone call is not slow

START = 60.0  # s for phones to be there; many may start at once

TRANSFER = 0.4  # s in which Asterisk has carried out a blind transfer


class Line:
    """One call, as one of its two phones sees it."""

    def __init__(self, desk: Desk, phone: str, name: str) -> None:
        self.desk = desk
        self.phone = phone
        self.name = name

    def _told(self, event: str, **values: object) -> bool:
        return any(
            told["event"] == event and told.get("line") == self.name and all(told[k] == v for k, v in values.items())
            for told in self.desk.told
        )

    def _wait(self, event: str, **values: object) -> Line:
        self.desk.wait(lambda: self._told(event, **values), f"{event} {values} on {self.name}")
        return self

    def _do(self, what: str, **values: object) -> Line:
        self.desk.order(self.phone, what, line=self.name, **values)
        return self

    def rings_back(self) -> Line:
        """Wait until the far end rings."""
        return self._wait("state", state="EARLY")

    def talks(self) -> Line:
        """Wait until the call is answered and has sound."""
        self._wait("state", state="CONFIRMED")
        return self._wait("media")

    def ended(self) -> Line:
        """Wait until the call is over."""
        return self._wait("state", state="DISCONNECTED")

    def ring(self) -> Line:
        """Say that it rings."""
        return self._do("answer", code=180)

    def progress(self) -> Line:
        """Ring with sound (183), as trunks do."""
        return self._do("answer", code=183)

    def answer(self) -> Line:
        """Pick up, and wait for the sound."""
        return self._do("answer", code=200).talks()

    def refuse(self, code: int) -> Line:
        """Refuse: 486 busy, 603 declined."""
        return self._do("answer", code=code).ended()

    def forward(self, to: str) -> Line:
        """Send the caller elsewhere, by 302."""
        return self._do("answer", code=302, contact=to)

    def hold(self) -> Line:
        """Put the other on hold."""
        return self._do("hold")

    def resume(self) -> Line:
        """Take the other back."""
        return self._do("resume")

    def key(self, digits: str, how: str = "rfc4733") -> Line:
        """Press keys, told to Asterisk by RFC 4733, by SIP INFO (`info`), or by their sound (`inband`)."""
        return self._do("key", digits=digits, how=how)

    def tape(self) -> Path:
        """What this phone heard in the call, when the call is over; for phones that tape."""
        self._wait("taped")
        file = self.desk.tapes / f"{self.name}.wav"
        wait_until(
            lambda: soundfile.info(file).frames > 0, f"{file} to be closed"
        )  # the library does that in its own time
        return file

    def refer(self, to: str) -> Line:
        """Transfer the other end blindly to `to`; returns when Asterisk has done it, as far as it tells.

        A phone that hangs up at the first NOTIFY (100) races with Asterisk's own transfer, and can end the call by it. The last
        NOTIFY comes at once from parking, but from a phone when it answers: so it is not waited for long.
        """
        self._do("refer", to=to)
        self._wait("transfer")
        with contextlib.suppress(LabError):
            self.desk.wait(lambda: self.over or self._told("transfer", final=True), "the end of the transfer", TRANSFER)
        return self

    def replace(self, other: Line) -> Line:
        """Transfer the other end to the far end of `other`, then hang up, as phones do when they are told that it is done."""
        self._do("replace", other=other.name)
        self.desk.wait(lambda: self.over or self._told("transfer", final=True), f"the transfer by {self.name}")
        if not self._told("transfer", code=200) and not self.over:
            codes = [
                told["code"] for told in self.desk.told if told["event"] == "transfer" and told["line"] == self.name
            ]
            raise LabError(f"{self.name}: Asterisk refused the transfer with {codes}")
        self.hang_up()
        other.hang_up()
        return self

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._told("state", state="DISCONNECTED")

    def hang_up(self) -> Line:
        """End the call."""
        return self._do("hangup").ended()


class Desk:
    """All soft phones around one Asterisk."""

    def __init__(self, asterisk: Asterisk) -> None:
        self.asterisk = asterisk
        self.told: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._taken: set[str] = set()
        self._numbers = count(1)
        self._phones: dict[str, subprocess.Popen[bytes]] = {}
        self._readers: list[threading.Thread] = []
        self.tapes = asterisk.folder / "tapes"  # what phones heard

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            if line.startswith(b"{"):
                with self._news:
                    self.told.append(json.loads(line))
                    self._news.notify_all()

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Return when `condition` holds; LabError if it does not, or if a step failed."""
        with self._news:
            if not self._news.wait_for(condition, seconds):
                last = "\n".join(json.dumps(told) for told in self.told[-12:])
                raise LabError(f"waited {seconds:.0f} s in vain for {what}; the phones' last words:\n{last}")

    def order(self, phone: str, what: str, **values: object) -> None:
        """Tell a phone to do something."""
        process = self._phones[phone]
        if process.stdin is None or process.poll() is not None:
            raise LabError(f"the soft phone {phone} has ended")
        process.stdin.write(json.dumps({"do": what, **values}).encode() + b"\n")
        process.stdin.flush()

    def phone(self, number: str, address: str = "", *, tone: int = 440, tapes: bool = False) -> None:
        """Put a phone on the desk, if it is not there. It speaks a tone of `tone` Hz, and tapes what it hears."""
        if number not in self._phones:
            self._start(number, address, tone, tapes=tapes)
        self._ready(number)

    def phones(self, tones: Mapping[str, int], *, tapes: bool = False) -> None:
        """Put several on the desk, each with its tone: they start side by side."""
        for number, tone in tones.items():
            if number not in self._phones:
                self._start(number, "", tone, tapes=tapes)
        for number in tones:
            self._ready(number)

    def _start(self, number: str, address: str, tone: int, *, tapes: bool) -> None:
        self.tapes.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "lab.softphone", self.asterisk.address, number]
        with (self.asterisk.folder / f"softphone-{number}.log").open("ab") as log:
            process = self._phones[number] = subprocess.Popen(
                [*command, address or self.asterisk.phone(number), str(tone), str(self.tapes) if tapes else ""],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
            )
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _ready(self, number: str) -> None:
        ready = {"event": "ready", "phone": number}
        self.wait(lambda: ready in self.told, f"phone {number}", START)

    def carrier(self) -> None:
        """The telephone company at the far end of the trunk, as a phone of the name `carrier`."""
        self.phone("carrier", self.asterisk.provider)

    def call(self, phone: str, to: str) -> Line:
        """`phone` dials `to`."""
        self.phone(phone)
        line = Line(self, phone, f"{phone}:out{next(self._numbers)}")
        self.order(phone, "call", to=to, line=line.name)
        return line

    def lamp(self, phone: str) -> tuple[int, int] | None:
        """The new and the old messages that the phone's lamp was told of last; None before it was told anything."""
        told = [told for told in self.told if told["event"] == "lamp" and told["phone"] == phone]
        return (told[-1]["new"], told[-1]["old"]) if told else None

    def register(self, phone: str) -> None:
        """Let Asterisk know where `phone` is."""
        self._registers(phone, "register", lambda told: told["code"] == 200 and told["seconds"] > 0)

    def unregister(self, phone: str) -> None:
        """Take `phone` away, as it takes its leave."""
        self._registers(phone, "unregister", lambda told: told["seconds"] == 0)

    def _registers(self, phone: str, what: str, done: Callable[[dict[str, Any]], bool]) -> None:
        self.phone(phone)
        before = len(self.told)
        self.order(phone, what)
        self.wait(
            lambda: any(
                told["event"] == "registration" and told["phone"] == phone and done(told) for told in self.told[before:]
            ),
            f"{phone} to {what}",
        )

    def message(self, phone: str, to: str, text: str) -> None:
        """`phone` sends a text, and Asterisk says that it takes it."""
        self.phone(phone)
        before = len(self.told)
        self.order(phone, "message", to=to, text=text)
        self.wait(
            lambda: any(told["event"] == "sent" and told["phone"] == phone for told in self.told[before:]),
            f"an answer to {phone}'s message to {to}",
        )
        (sent, *_) = [told for told in self.told[before:] if told["event"] == "sent" and told["phone"] == phone]
        if sent["code"] not in (200, 202):
            raise LabError(f"{phone}'s message to {to} was answered with {sent['code']}")

    def messages(self, phone: str) -> list[tuple[str, str]]:
        """The texts that came to `phone`, in order: from which number, and what."""
        told = [told for told in self.told if told["event"] == "message" and told["phone"] == phone]
        return [(one["sender"].partition("sip:")[2].partition("@")[0], one["text"]) for one in told]

    def incoming(self, phone: str, *, ring: bool = True) -> Line:
        """The next call that comes to `phone`, ringing."""
        self.wait(lambda: bool(self._untaken(phone)), f"a call for {phone}")
        name = self._untaken(phone)[0]
        self._taken.add(name)
        line = Line(self, phone, name)
        return line.ring() if ring else line

    def rings(self, phone: str) -> bool:
        """Whether a call is there for `phone` that nobody has taken notice of."""
        return bool(self._untaken(phone))

    def _untaken(self, phone: str) -> list[str]:
        over = {told["line"] for told in self.told if told.get("state") == "DISCONNECTED"}
        return [
            told["line"]
            for told in self.told
            if told["event"] == "incoming" and told["phone"] == phone and told["line"] not in self._taken | over
        ]

    def open_lines(self, phones: Iterable[str]) -> set[str]:
        """Calls of these phones that are not over."""
        wanted = set(phones)
        lines = {told["line"] for told in self.told if told.get("phone") in wanted and "line" in told}
        over = {told["line"] for told in self.told if told.get("state") == "DISCONNECTED"}
        return lines - over

    def quiet(self, phones: Iterable[str]) -> None:
        """Wait until none of these phones has a call."""
        wanted = set(phones)
        self.wait(lambda: not self.open_lines(wanted), f"the phones {sorted(wanted)} to be free")

    def clear(self, phones: Iterable[str]) -> None:
        """Hang up whatever these phones have."""
        wanted = set(phones)
        for line in self.open_lines(wanted):
            self.order(line.partition(":")[0], "hangup", line=line)
        with contextlib.suppress(LabError):
            self.quiet(wanted)

    def pause(self, seconds: float) -> None:
        """Let people talk: the record must have a time that can be measured."""
        time.sleep(seconds)

    def close(self) -> None:
        """Take all phones away."""
        for process in self._phones.values():
            with contextlib.suppress(OSError):
                if process.stdin is not None:
                    process.stdin.close()
        for process in self._phones.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader in self._readers:
            reader.join()
        for process in self._phones.values():
            if process.stdout is not None:
                process.stdout.close()
