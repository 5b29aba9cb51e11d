"""`route?hours=NAME`: whether a line is open now, in the site's time zone.

Sets `PBXD_ROUTE` (`open`, `closed`, `holiday`) and `PBXD_HOLIDAY` (its name). A name that the configuration does not have
is an error: `PBXD_STATUS` is ERROR, and the dialplan decides.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from pbxd.agi.application import Services
from pbxd.agi.hours import opening
from pbxd.agi.session import Request, Session
from pbxd.errors import AGIAppError


async def route(session: Session, request: Request, services: Services) -> None:
    """The application."""
    name = request.query.get("hours", "")
    hours = services.config.hours.get(name)
    if hours is None:
        raise AGIAppError(f"agi.hours has no {name!r}; it has {', '.join(sorted(services.config.hours)) or 'nothing'}")
    found = opening(hours, datetime.fromtimestamp(services.now(), ZoneInfo(services.zone)))
    await session.set_variable("PBXD_HOLIDAY", found.name)
    await session.set_variable("PBXD_ROUTE", found.state)
