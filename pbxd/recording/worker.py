"""The process that does the heavy work: `python -m pbxd.recording.worker`, at low priority, with no key but public ones.

It reads a line of JSON a job and answers with a line; it ends with its parent, so that nobody writes beside the next run. A job is

    {"folder": …, "codec": …, "recipient": "age1…", "target": …}

and its answer `{"size", "length", "sha256", "frames", "rate"}` of the encrypted file at `target`, which is durable then, or
`{"error", "kind"}` with kind `damaged` (the sound is at fault), `full` (a disk is) or `failed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pbxd.comms.encrypted import encrypt_file
from pbxd.comms.files import FULL, make_folder
from pbxd.comms.priority import lower_this_thread
from pbxd.errors import PbxdError, RecordingDamaged
from pbxd.lifeline import die_with, to_parent
from pbxd.recording.manifest import parse

ENCODED = "encoded.half"
NEARLY_NOTHING = 1024**2  # bytes
SLACK = 0.05  # s by which an encoded file's length may differ


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job. RecordingDamaged, RecordingError or OSError if it cannot be done; nothing is left of it then."""
    from pbxd.recording import assemble, encode  # noqa: PLC0415 - numpy: loaded at the first job

    folder, target = Path(job["folder"]), Path(job["target"])
    manifest = parse((folder / "ready.json").read_bytes(), folder.name)
    plan = assemble.plan(manifest, folder)
    if not plan.frames:
        raise RecordingDamaged("it has no length")
    with _plain_file(folder) as plain:
        encode.encode(plain, plan.rate, job["codec"], assemble.blocks(plan))
        frames = encode.frames_of(plain)
        if abs(frames - plan.frames) > SLACK * plan.rate:
            raise OSError(f"{frames} frames were encoded, {plan.frames} were there")
        make_folder(target.parent)
        with plain.open("rb") as source:
            made = encrypt_file(source, target, job["recipient"])
    return {
        "size": made.size, "length": made.length, "sha256": made.sha256, "frames": plan.frames, "rate": plan.rate,
    }  # fmt: skip


@contextlib.contextmanager
def _plain_file(folder: Path) -> Iterator[Path]:
    """Where the encoded file goes: beside the sound; into memory if there is no room, for else there would never be any again."""
    sound = sum(path.stat().st_size for path in folder.glob("*.wav"))
    if shutil.disk_usage(folder).free > sound + NEARLY_NOTHING:
        plain = folder / ENCODED
        try:
            yield plain
        finally:
            plain.unlink(missing_ok=True)
        return
    memory = os.memfd_create("pbxd-encoded", os.MFD_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)


def answer(line: bytes) -> dict[str, Any]:
    """Do the job of a line; what to say of it."""
    try:
        return work(json.loads(line))
    except RecordingDamaged as error:
        return {"error": str(error), "kind": "damaged"}
    except (OSError, PbxdError) as error:
        full = getattr(error, "errno", None) in FULL or _is_full(json.loads(line)["folder"])
        if full:
            return {"error": f"the disk is full; free disk space, pbxd goes on by itself: {error}", "kind": "full"}
        return {"error": str(error), "kind": "failed"}


def _is_full(folder: str) -> bool:
    """Whether the spool is: libsndfile does not say why it could not write."""
    try:
        return shutil.disk_usage(folder).free < NEARLY_NOTHING
    except OSError:
        return False


def main() -> None:
    """Work until there are no more lines."""
    die_with(int(sys.argv[1]))
    lower_this_thread()
    for line in sys.stdin.buffer:
        to_parent(json.dumps(answer(line)).encode() + b"\n")


if __name__ == "__main__":
    main()
