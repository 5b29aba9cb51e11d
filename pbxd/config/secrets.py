"""Where the AMI secret comes from: systemd's credential, else a file, else the configuration itself."""

from __future__ import annotations

import grp
import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from pbxd.config.schema import Config
from pbxd.errors import ConfigError

LENGTH = 32  # bytes of randomness in a secret that we make
CREDENTIAL = "ami-secret"


def find_secret(
    config: Config, credentials: Path | None, where: str, problems: list[str], warnings: list[str]
) -> Config:
    """`config` with the secret in `ami.secret`. `where` is the place of `ami.secret_file`, for what is wrong with it."""
    source = None
    if credentials is not None and (credentials / CREDENTIAL).exists():
        source = credentials / CREDENTIAL
    elif config.ami.secret_file is not None:
        source = config.ami.secret_file
        if source.exists() and source.stat().st_mode & 0o004:
            warnings.append(f"{where}: ami.secret_file: every user may read {source}: chmod 640 it")
    if source is None:
        if config.ami.secret is None:
            warnings.append("no AMI secret is set: pbxd makes call records, but has no live state and cannot act")
        return config
    try:
        secret = source.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(
            f"{where}: ami.secret_file: {source} cannot be read: {getattr(error, 'strerror', None) or error}"
        )
        return config
    if not secret:
        problems.append(f"{where}: ami.secret_file: {source} is empty")
        return config
    ami = config.ami.model_copy(update={"secret": SecretStr(secret)})
    return config.model_copy(update={"ami": ami})


def ensure_secret(path: Path, *, make: bool) -> str:
    """The secret in `path`; if there is none and `make`, a new one is written there. ConfigError if it cannot be read or made."""
    try:
        if path.exists():
            return path.read_text().strip()
        secret = secrets.token_urlsafe(LENGTH)
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            with os.fdopen(handle, "w") as file:
                file.write(secret + "\n")
                if os.geteuid() == 0:
                    os.fchown(handle, 0, _group("pbxd"))
    except OSError as error:
        raise ConfigError([f"{path}:1: the AMI secret cannot be read or written: {error.strerror}"]) from error
    return secret


def _group(name: str) -> int:
    """The id of a group; root's if there is no such group yet."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0
