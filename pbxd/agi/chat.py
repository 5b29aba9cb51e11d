"""`chat?to=…`: a SIP MESSAGE of a phone goes into the chats. Asterisk has said 202 to the phone already: faults are told by a text.

Runs in Asterisk's one thread for messages (`Message/ast_msg_queue`), so it takes no longer than LONGEST. Sets `PBXD_CHAT_ANSWER`:
what to answer the phone, empty if the message is kept. The dialplan sets it before to what is answered when pbxd is not there.
"""

from __future__ import annotations

import asyncio

from pbxd.agi.application import Services
from pbxd.agi.session import Request, Session
from pbxd.errors import AGITimeout

LONGEST = 8.0  # s that a message may take to be kept; all other messages of Asterisk wait meanwhile
ANSWER = "PBXD_CHAT_ANSWER"
OFF = "Not sent: there are no chats here"
LATE = "The phone system is slow: it is not certain that this message was kept"


async def chat(session: Session, request: Request, services: Services, *, longest: float = LONGEST) -> None:
    """The application."""
    if services.chat is None:
        await session.set_variable(ANSWER, OFF)
        return
    sender = await session.get_variable("MESSAGE(from)")
    text = await session.get_variable("MESSAGE(body)")
    # Phones may use one Call-ID for a whole conversation: together with CSeq it is one message's own.
    token = await session.get_full_variable("${MESSAGE_DATA(Call-ID)} ${MESSAGE_DATA(CSeq)}")
    length = "" if text else await session.get_full_variable("${MESSAGE_DATA(Content-Length)}")
    missing = int(length) if length.isascii() and length.isdecimal() else 0
    try:
        async with asyncio.timeout(longest):
            said = await services.chat.from_phone(
                sender, request.query.get("to", ""), text, token=token.strip()[:200], missing=missing
            )
    except TimeoutError as error:
        await session.set_variable(ANSWER, LATE)
        raise AGITimeout(f"a message was not kept in {longest:g} s") from error
    await session.set_variable(ANSWER, " ".join(said.split()))
