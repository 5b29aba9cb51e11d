"""`payment?do=begin|end`: somebody pays in this call, so nothing that is said or keyed is kept.

Unlike `record?do=pause` it holds from before the call is recorded, and over transfers; nobody's `resume` ends it, only `end` or the
end of the call does. Sets `PBXD_PAYMENT`: what was done (`begin`, `end`), `off` if nothing is ever recorded.
"""

from __future__ import annotations

from pbxd.agi.application import Services
from pbxd.agi.session import Request, Session
from pbxd.errors import AGIUsageError

DEEDS = ("begin", "end")


async def payment(session: Session, request: Request, services: Services) -> None:
    """The application."""
    deed = request.query.get("do", "")
    if deed not in DEEDS:
        raise AGIUsageError(f"payment?do={deed}: there are {', '.join(DEEDS)}")
    if services.recorder is None:
        await session.set_variable("PBXD_PAYMENT", "off")
        return
    services.recorder.payment(request.uniqueid, begins=deed == "begin")
    await session.set_variable("PBXD_PAYMENT", deed)
