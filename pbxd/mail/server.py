"""The mail server of `reports.mail`, as a job names it to the process that sends. Loads nothing that speaks SMTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pbxd.config.schema import Mail


@dataclass(frozen=True, slots=True)
class Server:
    """The mail server, as in `reports.mail`."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    username: str = ""
    password: str = ""
    ca_file: Path | None = None  # None: the system's certificates
    timeout: float = 30.0  # s for each answer

    def __repr__(self) -> str:
        """Without the password."""
        return f"Server({self.host}:{self.port}, {self.security}, {self.username!r})"


def described(mail: Mail) -> dict[str, Any]:
    """The server for a job in JSON; with its password, so it goes by standard input and stands on no command line."""
    return {
        "host": mail.host,
        "port": mail.port,
        "security": mail.security,
        "username": mail.username,
        "password": mail.password.get_secret_value() if mail.password else "",
        "ca_file": str(mail.ca_file) if mail.ca_file else None,
        "timeout": mail.timeout,
    }


def server_of(described: dict[str, Any]) -> Server:
    """The server of a job. TypeError if that is none."""
    return Server(**(described | {"ca_file": described["ca_file"] and Path(described["ca_file"])}))
