"""`record?do=start|stop|pause|resume&class=CLASS`: the recording of this call, by the dialplan or by a feature code.

`pause` before a payment, `resume` after it: nothing that is said or keyed in between is in any file. Sets `PBXD_RECORDING`: what
was done (`start`, `stop`, `pause`, `resume`), `none` if there is no recording of this call, `off` if nothing is ever recorded.

`class`, alone or beside `do`, says by which class of `recording.classes` the call is kept, from before it has a recording, and over
transfers; the last word counts. Sets `PBXD_CLASS`. An unknown class is an error, and the call keeps the one that it has.
"""

from __future__ import annotations

from pbxd.agi.application import Services
from pbxd.agi.session import Request, Session
from pbxd.errors import AGIUsageError, RecordingError

DEEDS = ("start", "stop", "pause", "resume")


async def record(session: Session, request: Request, services: Services) -> None:
    """The application."""
    deed, kind = request.query.get("do", ""), request.query.get("class", "")
    if deed not in DEEDS and (deed or not kind):
        raise AGIUsageError(f"record?do={deed}: there are {', '.join(DEEDS)}; or class=CLASS")
    if services.recorder is None:
        await session.set_variable("PBXD_RECORDING", "off")
        return
    if kind:
        try:
            services.recorder.classify(request.uniqueid, kind)
        except RecordingError as error:
            raise AGIUsageError(f"record?class={kind}: {error}") from error
        await session.set_variable("PBXD_CLASS", kind)
    if not deed:
        return
    try:
        services.recorder.ask(request.uniqueid, deed)
    except RecordingError:
        deed = "none"
    await session.set_variable("PBXD_RECORDING", deed)
