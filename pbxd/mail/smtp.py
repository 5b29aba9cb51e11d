"""Sends a mail by the admin's own server (aiosmtplib), tries again while that may help, and says plainly when it will not."""

from __future__ import annotations

import ssl
from asyncio import sleep
from collections.abc import Iterator
from email.message import EmailMessage
from itertools import islice

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from pbxd.backoff import backoff
from pbxd.errors import MailDeferred, MailError, MailRefused
from pbxd.mail.server import Server

TRIES = 4  # waits after the first try; the whole delivery is tried again later by its schedule
FIRST, LONGEST = 2.0, 60.0  # s between two tries


def waits() -> Iterator[float]:
    """Seconds to wait before each further try."""
    return islice(backoff(FIRST, LONGEST), TRIES)


async def send(
    message: EmailMessage, recipients: list[str], server: Server, tries: Iterator[float] | None = None
) -> dict[str, str]:
    """Send to each recipient once; the ones that the server did not take, with its reason. MailError if it took none.

    A recipient whom it defers (greylisting) is tried again alone. A connection that ends after the mail and before the server's
    answer leaves open whether it was taken: it is sent again with the same Message-ID, as RFC 5321 §4.5.3.2.6 has it.
    """
    waiting, refused = list(recipients), dict[str, str]()
    pauses = waits() if tries is None else tries
    taken = False
    while True:
        try:
            answers = await _once(message, waiting, server)
        except MailRefused:
            if not taken:
                raise
            return refused | dict.fromkeys(waiting, "refused")
        except MailDeferred as error:
            left, last = waiting, error
        else:
            refused |= {to: f"{code} {said}" for to, (code, said) in answers.items() if code >= 500}
            left = [to for to, (code, _) in answers.items() if code < 500]
            taken = taken or len(answers) < len(waiting)
            if not left:
                return refused
            last = MailDeferred("; ".join(f"{to}: {answers[to][0]} {answers[to][1]}" for to in left))
        waiting = left
        pause = next(pauses, None)
        if pause is None:
            if taken:
                return refused | dict.fromkeys(waiting, str(last))
            raise last
        await sleep(pause)


async def _once(message: EmailMessage, recipients: list[str], server: Server) -> dict[str, tuple[int, str]]:
    """One connection, one mail; the recipients that were not taken, with the server's code and words."""
    smtp = SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",  # never "if it is offered": who asked for it must get it
        tls_context=_context(server),
        timeout=server.timeout,
    )
    try:
        async with smtp:
            if server.username:
                await smtp.login(server.username, server.password)
            answers, _ = await smtp.send_message(message, recipients=recipients)
            return {to: (answer.code, _words(answer.message)) for to, answer in answers.items()}
    except SMTPRecipientsRefused as error:
        return _all_refused(error)
    except (SMTPException, OSError, ValueError) as error:
        raise _told(error, server) from error


def _context(server: Server) -> ssl.SSLContext | None:
    if server.security == "none":
        return None
    try:
        return ssl.create_default_context(cafile=server.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise MailRefused(f"the certificates in {server.ca_file} cannot be read: {error}") from error


def _all_refused(error: SMTPRecipientsRefused) -> dict[str, tuple[int, str]]:
    """Nobody was taken: deferred if one may be taken later, else refused."""
    answers = {one.recipient: (one.code, _words(one.message)) for one in error.recipients}
    if all(code >= 500 for code, _ in answers.values()):
        said = "; ".join(f"{to}: {code} {words}" for to, (code, words) in answers.items())
        raise MailRefused(f"the mail server takes no recipient: {said}") from error
    return answers


def _told(error: Exception, server: Server) -> MailError:
    """What happened, and whether it may be otherwise later: the one place that decides so."""
    where = f"{server.host}:{server.port}"
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return MailRefused(
                f"the certificate of {where} is not trusted: {cause.verify_message}; see reports.mail.ca_file"
            )
        if isinstance(cause, ssl.SSLError):
            return MailRefused(f"{where} does not speak TLS: {cause.reason or cause}; see reports.mail.security")
    if type(error) in (SMTPException, SMTPNotSupported):  # what aiosmtplib raises where STARTTLS or AUTH is not offered
        return MailRefused(f"{where} does not offer what is needed: {error}")
    if isinstance(error, SMTPResponseException):
        what = "refused the user or the password" if isinstance(error, SMTPAuthenticationError) else "refused"
        kind = MailDeferred if 400 <= error.code < 500 else MailRefused
        return kind(f"{where} {what}: {error.code} {_words(error.message)}")
    if isinstance(error, ValueError):
        return MailRefused(f"the mail cannot be sent by {where}: {error}")
    return MailDeferred(f"{where} cannot be reached: {_words(str(error)) or type(error).__name__}")


def _words(text: str) -> str:
    """A server's answer on one line, and not without end."""
    return " ".join(text.split())[:300]
