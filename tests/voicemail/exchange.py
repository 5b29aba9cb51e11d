"""What the other end of AMI does with a spool, on real files: `python -m tests.voicemail.exchange SPOOL`, which says its port.

It removes, moves and forwards messages as app_voicemail does, renumbering behind them; what a real Asterisk does is in tests/lab.
The file `kill` beside the spool, `PID before` or `PID after`, has it kill that process before or after the next change, without an
answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

from pbxd.asterisk.wire import Framer, Message
from pbxd.voicemail.spool import message_number, parse_text

BOOTED = b"Event: FullyBooted\r\nUptime: 60\r\nStatus: Fully Booted\r\n\r\n"


def renumber(folder: Path) -> None:
    """Close the gaps, as a resequence does."""
    texts = sorted(folder.glob("msg*.txt"), key=lambda path: message_number(path.stem) or 0)
    for number, text in enumerate(texts):
        for path in sorted(folder.glob(f"{text.stem}.*")):
            path.rename(folder / f"msg{number:04}{path.suffix}")


def change(spool: Path, message: Message) -> str:
    """Carry out an action; what Asterisk says of it."""
    folder = spool / message.get("Context") / message.get("Mailbox") / message.get("Folder")
    found = [path for path in folder.glob("msg*.txt") if parse_text(path.read_bytes()).id == message.get("ID")]
    if not found:
        return "Message not found"
    other = spool / message.get("ToContext") / message.get("ToMailbox") if message.get("ToMailbox") else folder.parent
    target = other / message.get("ToFolder") if message.get("ToFolder") else None
    if target is not None:
        target.mkdir(parents=True, exist_ok=True)
    number = len(list(target.glob("msg*.txt"))) if target is not None else 0
    for path in folder.glob(f"{found[0].stem}.*"):
        if target is None:
            path.unlink()
        elif message.get("Action") == "VoicemailForward":
            shutil.copy(path, target / f"msg{number:04}{path.suffix}")
        else:
            path.rename(target / f"msg{number:04}{path.suffix}")
    renumber(folder)
    return f"{message.get('Action')} successful"


def killed(order: Path, when: str) -> bool:
    """Kill whom the order names, if it is for now."""
    try:
        pid, _, moment = order.read_text().partition(" ")
    except FileNotFoundError:
        return False
    if moment.strip() != when:
        return False
    order.unlink()
    os.kill(int(pid), signal.SIGKILL)
    return True


def answer(spool: Path, message: Message) -> bytes:
    """What is answered to an action; nothing if the asker was killed."""
    name, done = message.get("Action"), f"Response: Success\r\nActionID: {message.action_id}\r\n".encode()
    order = spool.parent / "kill"
    if name == "VoicemailUsersList":
        event = f"ActionID: {message.action_id}\r\nEvent: VoicemailUserEntry\r\nVMContext: default\r\nVoiceMailbox: "
        entries = [event + f"{box.name}\r\n\r\n" for box in sorted((spool / "default").iterdir())]
        entries.append(
            f"ActionID: {message.action_id}\r\nEvent: VoicemailUserEntryComplete\r\nEventList: Complete\r\n\r\n"
        )
        return done + b"EventList: start\r\n\r\n" + "".join(entries).encode()
    if name in ("VoicemailRemove", "VoicemailMove", "VoicemailForward"):
        if killed(order, "before"):
            return b""
        said = change(spool, message)
        return b"" if killed(order, "after") else done + f"Message: {said}\r\n\r\n".encode()
    if name == "Challenge":
        return done + b"Challenge: 42\r\n\r\n"
    if name == "Login":
        return done + b"\r\n" + BOOTED
    return done + b"Timestamp: 1795485056.5\r\n\r\n"


async def serve(spool: Path) -> None:
    """Until killed."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        framer = Framer()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                for message in framer.feed(data):
                    writer.write(answer(spool, message))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
