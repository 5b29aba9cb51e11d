"""FastAGI as one part of the daemon: the server, the routes and the scripts together."""

from __future__ import annotations

from typing import Any

from pbxd.agi.application import Services
from pbxd.agi.routes import Routes
from pbxd.agi.scripts import Scripts
from pbxd.agi.server import AgiServer
from pbxd.config.agi import Agi


class AgiService:
    """What the daemon starts, reloads, asks and stops."""

    def __init__(self, config: Agi, zone: str) -> None:
        self.services = Services(config, zone)
        self.routes = Routes()
        self.scripts = Scripts(self.services)
        self.server = AgiServer(self.services, self.routes, self.scripts)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.server.run()

    async def drain(self) -> None:
        """No new sessions; those in progress get a moment, then their dialplans go on."""
        await self.server.drain()

    def configure(self, config: Agi, zone: str) -> None:
        """Take up a new configuration."""
        self.services.config, self.services.zone = config, zone

    def status(self) -> dict[str, Any]:
        """State and counters."""
        return self.server.status()

    def listing(self) -> dict[str, Any]:
        """Every route, and how often it was asked for since the start."""
        asked = self.server.counters.routes
        return {"routes": [{"name": name, "sessions": asked[name]} for name in self.routes.names()]}

    def script_listing(self) -> dict[str, Any]:
        """Every file of the scripts' folder, its fault, and how often it was asked for. AGIAppError if it cannot be read."""
        asked = self.server.counters.routes
        found = [script | {"sessions": asked[script["name"]]} for script in self.scripts.listing()]
        return {"folder": str(self.scripts.folder), "scripts": found} | self.scripts.status()
