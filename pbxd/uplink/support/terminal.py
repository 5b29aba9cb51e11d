"""What may go to the terminal of somebody who looks on: text, line ends, colours, moves of the cursor; nothing that makes it act.

No I/O. A state machine over the whole stream, after Paul Williams' parser of DEC's terminals (vt100.net/emu/dec_ansi_parser) and
ECMA-48: a sequence that comes in two pieces is one. What is not on the list is left out to its end, whatever it is.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum, auto

ESC, CAN, SUB, ST, BELL = "\x1b", "\x18", "\x1a", "\x9c", "\x07"
CSI, STRINGS = "\x9b", "\x90\x98\x9d\x9e\x9f"  # C1: control sequences; DCS, SOS, OSC, PM, APC
PLAIN = "\n\r\t\b"
LONGEST = 64  # characters of a control sequence; a longer one is left out
# Moves of the cursor, erasing, inserting and deleting, scrolling, colours; the cursor shown or hidden. None of them is answered.
SHOWS = re.compile(r"[0-9;:]*[@A-HJKLMPXadefm`]|[0-9]*[ST]|\?25[hl]")
SAVES = "78"  # ESC 7, ESC 8: the cursor's place
AFTER = f"{ESC}[m{ESC}[?25h"  # what was left switched, back


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # behind ESC
    INTERMEDIATE = auto()  # behind ESC and one of SP to /
    CONTROL = auto()  # in a control sequence
    STRING = auto()  # in OSC, DCS, SOS, PM or APC, until its end
    STRING_ESCAPE = auto()  # behind ESC in one of them


class Harmless:
    """One stream. Feed it pieces as they come; what comes out is the same however it was cut."""

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._begun = ""  # of a control sequence

    def feed(self, text: str) -> str:
        """What may be shown of the next piece."""
        return "".join(map(self._take, text))

    def _take(self, one: str) -> str:
        if one == ESC:
            self._state = _State.STRING_ESCAPE if self._in_string else _State.ESCAPE
            return ""
        match self._state:
            case _State.TEXT:
                return self._text(one)
            case _State.ESCAPE:
                return self._escape(one)
            case _State.CONTROL:
                return self._control(one)
            case _State.INTERMEDIATE:
                if not " " <= one <= "/":
                    self._state = _State.TEXT
                return ""
            case _State.STRING | _State.STRING_ESCAPE:
                return self._string(one)

    @property
    def _in_string(self) -> bool:
        return self._state in (_State.STRING, _State.STRING_ESCAPE)

    def _text(self, one: str) -> str:
        if one in STRINGS:
            self._state = _State.STRING
        elif one == CSI:
            self._begin()
        elif one in PLAIN or not _acts(one):
            return one
        return ""

    def _begin(self) -> None:
        self._state, self._begun = _State.CONTROL, ""

    def _escape(self, one: str) -> str:
        self._state = _State.TEXT
        if one == "[":
            self._begin()
        elif one in "PX]^_":  # DCS, SOS, OSC, PM, APC
            self._state = _State.STRING
        elif " " <= one <= "/":
            self._state = _State.INTERMEDIATE
        elif one in SAVES:
            return ESC + one
        elif not "0" <= one <= "~":
            return self._text(one)  # no sequence: a terminal shows it, or does it, by itself
        return ""

    def _control(self, one: str) -> str:
        if not " " <= one <= "~":
            self._state = _State.TEXT
            return self._text(one)  # broken off
        if one >= "@":
            self._state = _State.TEXT
            whole = self._begun + one
            return f"{ESC}[{whole}" if len(whole) <= LONGEST and SHOWS.fullmatch(whole) else ""
        if len(self._begun) < LONGEST:
            self._begun += one
        return ""

    def _string(self, one: str) -> str:
        if one in (BELL, ST, CAN, SUB) or (self._state is _State.STRING_ESCAPE and one == "\\"):
            self._state = _State.TEXT
        elif self._state is _State.STRING_ESCAPE:
            self._state = _State.ESCAPE
            return self._escape(one)  # ESC ends a string, and begins what it begins
        return ""


def _acts(one: str) -> bool:
    """Whether a character is none that is only shown: controls, and formats such as those that turn the direction of writing."""
    return unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")
