"""The hub's configuration: one YAML file, strict. Every mistake is told at once, each with its line."""

from __future__ import annotations

import difflib
import ipaddress
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from pbxd.config.load import Places, by_place, read, warn_readable
from pbxd.config.part import Part
from pbxd.config.values import AbsolutePath, Address, Duration
from pbxd.errors import ConfigError
from pbxd.stats.engine import DRIVERS

DEFAULT_CONFIG = Path("/etc/pbxhub/pbxhub.yaml")


def database_url(value: str) -> str:
    """A URL of SQLite or PostgreSQL, with the driver that we use."""
    try:
        parsed = make_url(value)
    except ArgumentError as error:
        raise ValueError(
            "is no URL; write sqlite+aiosqlite:////var/lib/pbxhub/hub.db or postgresql+asyncpg://…"
        ) from error
    if parsed.drivername not in DRIVERS.values():
        raise ValueError(f"{parsed.drivername} is not one of {', '.join(DRIVERS.values())}")
    return value


def positive(value: float) -> float:
    """Longer than nothing."""
    if value <= 0:
        raise ValueError("has to be more than 0")
    return value


def loopback(value: str) -> str:
    """Figures of customers are for this machine alone; who wants them elsewhere puts a proxy with a sign-in before them."""
    host = value.rpartition(":")[0].strip("[]")
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise ValueError("has to be on this machine: 127.0.0.1:9465")
    return value


Length = Annotated[Duration, AfterValidator(positive)]
Count = Annotated[int, Field(ge=1)]


class Certificates(Part):
    """How long what the hub signs is good for."""

    box: Length = Field(90 * 86400.0, description="A box's certificate.")
    renew: Length = Field(30 * 86400.0, description="So long before its end a box gets a new one.")
    token: Length = Field(7 * 86400.0, description="A token, unless `pbxhub token --for` says another time.")
    staff: Length = Field(3600.0, description="A certificate of `pbxhub staff certify`.")


class Limits(Part):
    """Against storms of connections."""

    connections: Count = Field(10_000, description="Connections that this node holds at once.")
    signing_in: Count = Field(64, description="Of these, how many may be in the middle of signing in.")
    sign_in: Length = Field(20.0, description="How long signing in may take.")
    rate: float = Field(2.0, gt=0, description="Connections a second that one address may begin, in the long run.")
    burst: Count = Field(20, description="How many it may begin at once.")
    visits: Count = Field(8, description="Ways through to boxes that one connection of a person may have at once.")


class KeepAlive(Part):
    """How a connection whose other end is gone is noticed: after interval * (count + 1)."""

    interval: Length = Field(30.0, description="A question after so long a silence.")
    count: Count = Field(3, description="So many questions may stay without an answer.")


class Keep(Part):
    """How long things are kept. Configurations, checkpoints, alarms and rollups stay."""

    bodies: Length = Field(90 * 86400.0, description="Bodies of health and statistics; the rollups made of them stay.")
    visits: Length = Field(365 * 86400.0, description="Who went through to which box, and tickets that ended.")


class Log(Part):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json.")


class HubConfig(Part):
    """Everything that `pbxhub` is told."""

    node: str = Field(default_factory=socket.gethostname, min_length=1, description="Name of this node, its own.")
    listen: Address = Field("0.0.0.0:22", description="Where boxes and staff come in.")
    address: str = Field("", description="How staff reach this node, as host:port; empty is the node's name and port.")
    database: Annotated[str, AfterValidator(database_url)] = Field(
        "sqlite+aiosqlite:////var/lib/pbxhub/hub.db", description="The store; several nodes share one in PostgreSQL."
    )
    keys: AbsolutePath = Field(Path("/etc/pbxhub/keys"), description="The folder of the keys that `pbxhub init` makes.")
    metrics: Annotated[Address, AfterValidator(loopback)] | None = Field(
        "127.0.0.1:9465", description="Where /metrics and /health answer; null for nowhere."
    )
    classical_kex: bool = Field(False, description="Take curve25519-sha256 too, for OpenSSH before 9.9 (`ssh -J`).")
    certificates: Certificates = Field(default_factory=Certificates)
    limits: Limits = Field(default_factory=Limits)
    keepalive: KeepAlive = Field(default_factory=KeepAlive)
    keep: Keep = Field(default_factory=Keep)
    log: Log = Field(default_factory=Log)

    @property
    def reached_at(self) -> str:
        """How staff reach this node."""
        return self.address or f"{self.node}:{self.listen.rpartition(':')[2]}"


@dataclass(frozen=True, slots=True)
class LoadedHub:
    """A configuration, and what an operator should know of it."""

    config: HubConfig
    warnings: tuple[str, ...]


def load(path: Path) -> LoadedHub:
    """The configuration in `path`. ConfigError with every mistake."""
    if not path.exists():
        raise ConfigError([f"{path}:1: there is no such file; `pbxhub init` writes one"])
    problems: list[str] = []
    places: Places = {}
    tree = read(path, places, problems)
    # `limits:` with nothing below it is an empty group, not a mistake.
    tree = {name: {} if value is None and name in groups() else value for name, value in tree.items()}
    config = None
    try:
        config = HubConfig.model_validate(tree)
    except ValidationError as error:
        problems.extend(_tell(fault, places, path) for fault in error.errors(include_url=False, include_context=False))
    if config is not None and config.certificates.renew >= config.certificates.box:
        problems.append(f"{path}:1: certificates.renew has to be shorter than certificates.box")
    if problems or config is None:
        raise ConfigError(sorted(set(problems), key=by_place))
    warnings: list[str] = []
    if make_url(config.database).password:
        warn_readable(path, "database", warnings)
    return LoadedHub(config, tuple(warnings))


def groups() -> dict[str, type[Part]]:
    """The keys that are groups of keys."""
    found = {name: info.annotation for name, info in HubConfig.model_fields.items()}
    return {name: kind for name, kind in found.items() if isinstance(kind, type) and issubclass(kind, Part)}


def keys() -> list[str]:
    """Every key, with dots."""
    own = groups()
    return [
        key
        for name in HubConfig.model_fields
        for key in ([f"{name}.{inner}" for inner in own[name].model_fields] if name in own else [name])
    ]


def _tell(fault: Any, places: Places, path: Path) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    location = tuple(str(part) for part in fault["loc"] if not str(part).startswith("function-"))
    known = [location[:n] for n in range(len(location), 0, -1) if location[:n] in places]
    where = places[known[0]] if known else f"{path}:1"
    key = ".".join(known[0] if known else location)
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, keys(), 1, 0.5)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(keys())}"
        return f"{where}: {key}: unknown key; {meant}"
    text = re.sub(r"^Value error, ", "", fault["msg"])
    shown = (
        "" if key == "database" else f" (found {str(fault['input'])[:60]!r})"
    )  # a database's URL may have a password
    return f"{where}: {key}: {text}{shown}"
