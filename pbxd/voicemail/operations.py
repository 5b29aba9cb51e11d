"""What is done with messages: always by Asterisk, so that it tells every phone's lamp.

Asterisk answers these actions with `Response: Success` even when it did nothing; only its words say how it went
(app_voicemail.c, `manager_voicemail_move` and its like, seen with 22.10).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pbxd.asterisk.manager import ManagerSession
from pbxd.errors import SpoolError, VoicemailRefused
from pbxd.voicemail.index import Index
from pbxd.voicemail.spool import READ, Box, Message

DONE = "successful"
SETTLES = 3  # looks at the spool in which a message must be found: another one may move it meanwhile


@dataclass(frozen=True, slots=True)
class Holder:
    """A mailbox as voicemail.conf has it."""

    box: Box
    name: str
    mail: str
    new: int
    old: int


class Operations:
    """Moves, removes and forwards messages through one AMI session."""

    def __init__(self, ami: ManagerSession, index: Index) -> None:
        self.ami = ami
        self.index = index

    async def holders(self) -> list[Holder]:
        """All mailboxes that Asterisk has. AmiError if it cannot be asked."""
        rows = await self.ami.action_list("VoicemailUsersList")
        return sorted(
            (
                Holder(
                    Box(row.get("VMContext"), row.get("VoiceMailbox")),
                    row.get("Fullname"),
                    row.get("Email"),
                    _count(row.get("NewMessageCount")),
                    _count(row.get("OldMessageCount")),
                )
                for row in rows
            ),
            key=lambda holder: holder.box,
        )

    async def move(self, box: Box, name: str, folder: str) -> Message:
        """Move a message into another folder of its box; where it lies then.

        SpoolError if it is not there, VoicemailRefused if Asterisk did not move it (the folder is full, say), AmiError.
        """
        return await self._carry_out("VoicemailMove", box, name, folder, ToFolder=folder)

    async def mark(self, box: Box, name: str, *, read: bool) -> Message:
        """Make a message one that was heard, or a new one again. Errors: as `move`."""
        message = self.index.message(box, name)
        if message.new is not read:
            return message
        return await self.move(box, name, READ if read else ("Urgent" if message.text.urgent else "INBOX"))

    async def remove(self, box: Box, name: str) -> Message:
        """Delete a message; what it was. Errors: as `move`."""
        return await self._carry_out("VoicemailRemove", box, name, "")

    async def forward(self, box: Box, name: str, to: Box, folder: str = "INBOX") -> Message:
        """Put a copy into another box, which has the same id there; the message that was copied. Errors: as `move`."""
        await self.check_target(box, to)
        names = {"ToContext": to.context, "ToMailbox": to.mailbox, "ToFolder": folder}
        return await self._carry_out("VoicemailForward", box, name, "", **names)

    async def check_target(self, box: Box, to: Box) -> None:
        """Return if what lies in `box` can be forwarded to `to`. SpoolError, AmiError."""
        if to == box:
            raise SpoolError(f"{box} has the message already: a second one of the same id could not be told from it")
        if to not in [holder.box for holder in await self.holders()]:
            raise SpoolError(f"Asterisk has no mailbox {to}")

    async def refresh(self, box: Box) -> None:
        """Have Asterisk count a box anew and tell its lamps. AmiError if it cannot be asked."""
        await self.ami.action("VoicemailRefresh", Context=box.context, Mailbox=box.mailbox)

    async def _carry_out(self, action: str, box: Box, name: str, target: str, **more: str) -> Message:
        """One action on the message `name`, which may have been moved since the index was made."""
        tried: set[str] = set()
        said = ""
        for _ in range(SETTLES):
            message = self.index.message(box, name)
            if message.folder == target:
                return message
            if message.folder in tried:
                break
            tried.add(message.folder)
            answer = await self.ami.action(
                action, Context=box.context, Mailbox=box.mailbox, Folder=message.folder, ID=name, **more
            )
            said = answer.get("Message").strip()
            await self.index.look()
            if said.endswith(DONE):
                return replace(message, folder=target) if target else message
        raise VoicemailRefused(f"{action} of {name} in {box}: {said or 'Asterisk does not say why'}")


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0
