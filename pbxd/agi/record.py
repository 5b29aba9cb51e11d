"""`record?do=start|stop|pause|resume`: the recording of this call, by the dialplan or by a feature code.

`pause` before a payment, `resume` after it: nothing that is said or keyed in between is in any file. Sets `PBXD_RECORDING`: what
was done (`start`, `stop`, `pause`, `resume`), `none` if there is no recording of this call, `off` if nothing is ever recorded.
"""

from __future__ import annotations

from pbxd.agi.application import Services
from pbxd.agi.session import Request, Session
from pbxd.errors import AGIUsageError, RecordingError

DEEDS = ("start", "stop", "pause", "resume")


async def record(session: Session, request: Request, services: Services) -> None:
    """The application."""
    deed = request.query.get("do", "")
    if deed not in DEEDS:
        raise AGIUsageError(f"record?do={deed}: there are {', '.join(DEEDS)}")
    if services.recorder is None:
        await session.set_variable("PBXD_RECORDING", "off")
        return
    try:
        services.recorder.ask(request.uniqueid, deed)
    except RecordingError:
        deed = "none"
    await session.set_variable("PBXD_RECORDING", deed)
