"""What pbxd and the host of its scripts say to one another: a line of JSON each, over a Unix socket of its own for each run.

    pbxd: a request, with the script's standard input, output and error as descriptors      host: {"pid": 4711}, or {"fault": …}
    pbxd: H for a hang-up                                                                  host: {"code": 0}, or {"over": …}

Either end's closing ends the run: the host closes when the script and all that descended from it are gone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pbxd.errors import AGIAppError

LONGEST = 256 * 1024  # bytes of a request; Asterisk's environment, whose arguments these are, has 64 KiB
HANGUP = b"H"
DESCRIPTORS = 3
OVER = {  # what a family passed -> the key that says how much it may
    "processes": "agi.scripts.processes",
    "cpu": "agi.scripts.cpu",
    "memory": "agi.scripts.memory",
}


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """One run. Limits are those of the script with all that descends from it; memory and cpu hold for each process too."""

    name: str  # of a file in the host's own folder
    arguments: tuple[str, ...]
    processes: int
    cpu: float  # s
    memory: int  # bytes
    at_once: int  # how many scripts may run beside it

    def line(self) -> bytes:
        """As it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"


def parsed(line: bytes) -> ScriptRequest:
    """A request that came. AGIAppError if it is none."""
    try:
        values = json.loads(line)
        found = ScriptRequest(**values | {"arguments": tuple(values["arguments"])})
        sound = (
            isinstance(found.name, str)
            and all(isinstance(word, str) and "\0" not in word for word in found.arguments)
            and all(
                isinstance(number, int) and number >= 0 for number in (found.processes, found.memory, found.at_once)
            )
            and isinstance(found.cpu, int | float)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise AGIAppError(f"this asks for no script: {error}") from error
    if not sound:
        raise AGIAppError("this asks for no script")
    return found
