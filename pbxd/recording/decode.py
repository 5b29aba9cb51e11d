"""The process that decodes for a listener: a file at its input, to WAV at its output, from some second on."""

from __future__ import annotations

import os
import sys

from pbxd.errors import RecordingError
from pbxd.lifeline import die_with
from pbxd.recording.encode import wav


def main() -> None:
    """Write until the end, or until nobody listens any more."""
    die_with(int(sys.argv[1]))
    try:
        for block in wav(0, float(sys.argv[2])):
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(1, rest) :]
    except BrokenPipeError:
        sys.exit(0)
    except RecordingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
