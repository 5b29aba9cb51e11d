"""`lookup`: who calls. The name from the address book, and whether the number is on the allow or the block list.

Sets `PBXD_LIST` (`allowed`, `blocked`, `none`), `PBXD_NUMBER` (with its country code), `PBXD_NAME`, and the caller's name
on the channel if the book has one. `lookup?number=…` asks for another number and leaves the caller's name as it is.
"""

from __future__ import annotations

from pbxd.agi.application import Services
from pbxd.agi.numbers import found, listed, normal
from pbxd.agi.session import Request, Session
from pbxd.config.agi import Lookup


def looked_up(number: str, config: Lookup) -> tuple[str, str, str]:
    """A number's normal form, its list, and its name (empty if the book has none). The allow list wins."""
    whole = normal(number, config.country, config.trunk_prefix, config.international_prefix)
    forms = {whole, number} - {""}  # a book may have numbers as they are shown here
    on = "none"
    if any(listed(form, config.allowed) for form in forms):
        on = "allowed"
    elif any(listed(form, config.blocked) for form in forms):
        on = "blocked"
    return whole, on, found(whole, config.names) or found(number, config.names) or ""


async def lookup(session: Session, request: Request, services: Services) -> None:
    """The application."""
    asked = request.query.get("number")
    number, on, name = looked_up(request.caller if asked is None else asked, services.config.lookup)
    await session.set_variable("PBXD_NUMBER", number)
    await session.set_variable("PBXD_NAME", name)
    if name and asked is None:
        await session.set_variable("CALLERID(name)", name)
    await session.set_variable("PBXD_LIST", on)
