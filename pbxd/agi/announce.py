"""`announce`: tells the caller, in its language, that the call is recorded. Nothing is kept of a call before this has ended.

Plays `recording.announcement`, or `announce?sound=…`; Asterisk takes the sound of the channel's language. Only a sound that was
heard to its end counts: a caller who hangs up, or a sound that is not there, leaves the call without a recording. Sets
`PBXD_ANNOUNCED` (`yes`, `no`).
"""

from __future__ import annotations

from pbxd.agi.application import Services
from pbxd.agi.session import Request, Session


async def announce(session: Session, request: Request, services: Services) -> None:
    """The application."""
    await session.set_variable("PBXD_ANNOUNCED", "no")
    if services.recorder is None:
        return  # nothing is recorded, and nothing must be said
    await session.answer()
    await session.stream_file(request.query.get("sound") or services.announcement)
    services.recorder.consented(request.uniqueid)
    await session.set_variable("PBXD_ANNOUNCED", "yes")
