"""Where secrets come from: systemd's credential, else a file, else the configuration itself."""

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
MAIL_CREDENTIAL = "mail-password"


def find_secret(
    config: Config, credentials: Path | None, where: str, problems: list[str], warnings: list[str]
) -> Config:
    """`config` with the secret in `ami.secret`. `where` is the place of `ami.secret_file`, for what is wrong with it."""
    source = _source(credentials, CREDENTIAL, config.ami.secret_file)
    if source is None:
        if config.ami.secret is None:
            warnings.append("no AMI secret is set: pbxd makes call records, but has no live state and cannot act")
        return config
    secret = _read(source, f"{where}: ami.secret_file", problems, warnings, checked=source == config.ami.secret_file)
    if secret is None:
        return config
    return config.model_copy(update={"ami": config.ami.model_copy(update={"secret": SecretStr(secret)})})


def find_password(
    config: Config, credentials: Path | None, where: str, problems: list[str], warnings: list[str]
) -> Config:
    """`config` with the mail server's password in `reports.mail.password`. `where` is the place of its `password_file`."""
    mail = config.reports.mail
    source = _source(credentials, MAIL_CREDENTIAL, mail.password_file)
    if source is not None:
        key = f"{where}: reports.mail.password_file"
        password = _read(source, key, problems, warnings, checked=source == mail.password_file)
        if password is not None:
            mail = mail.model_copy(update={"password": SecretStr(password)})
    if mail.username and mail.password is None:
        warnings.append("reports.mail.username is set and no password: the mail server will refuse the login")
    if mail.username and mail.security == "none" and mail.host not in ("localhost", "127.0.0.1", "::1"):
        warnings.append(
            f"reports.mail.security is none: the password goes to {mail.host} for everybody on the way to read"
        )
    return config.model_copy(update={"reports": config.reports.model_copy(update={"mail": mail})})


def _source(credentials: Path | None, name: str, file: Path | None) -> Path | None:
    """Where a secret is read from: systemd's credential, else the file."""
    if credentials is not None and (credentials / name).exists():
        return credentials / name
    return file


def _read(source: Path, key: str, problems: list[str], warnings: list[str], *, checked: bool) -> str | None:
    """The secret in a file; None, and why in `problems`, if it holds none. `checked`: warn of a file that all may read."""
    if checked and source.exists() and source.stat().st_mode & 0o004:
        warnings.append(f"{key}: every user may read {source}: chmod 640 it")
    try:
        secret = source.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{key}: {source} cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    if not secret:
        problems.append(f"{key}: {source} is empty")
        return None
    return secret


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
