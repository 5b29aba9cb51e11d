"""The process that decodes for a listener: a file at its input, to WAV at its output, from some second on."""

from __future__ import annotations

import sys

from pbxd.errors import RecordingError
from pbxd.lifeline import die_with, to_parent
from pbxd.recording.encode import wav


def main() -> None:
    """Write until the end, or until nobody listens any more."""
    die_with(int(sys.argv[1]))
    try:
        for block in wav(0, float(sys.argv[2])):
            to_parent(block)
    except RecordingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
