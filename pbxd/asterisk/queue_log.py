"""One line of Asterisk's queue_log: `epoch|uniqueid|queue|agent|EVENT|data…`. Source: Asterisk "Queue Logs"."""

from __future__ import annotations

from typing import NamedTuple

from pbxd.errors import LineError


class QueueEvent(NamedTuple):
    """A line of queue_log; `at` is UTC microseconds since the epoch (Asterisk writes whole seconds)."""

    at: int
    call_id: str
    queue: str
    agent: str
    event: str
    data: str  # the event's own values, joined by |


def parse_queue_line(line: bytes) -> QueueEvent:
    """The event in one line. LineError if it is none."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = line.decode("latin-1")
    fields = text.split("|", 5)
    if len(fields) < 5 or not fields[0].isdecimal() or len(fields[0]) > 11 or "\0" in text:
        raise LineError("not a line of queue_log")
    data = fields[5] if len(fields) > 5 else ""
    return QueueEvent(int(fields[0]) * 1_000_000, fields[1], fields[2], fields[3], fields[4], data.rstrip("|"))
