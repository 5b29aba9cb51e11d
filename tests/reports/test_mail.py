"""Reports by mail, against a real SMTP server."""

from __future__ import annotations

import email
import ssl
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from pbxd.errors import MailDeferred, MailRefused
from pbxd.mail.server import Server
from pbxd.mail.smtp import send
from pbxd.reports.letter import compose
from pbxd.stats.report import Report
from tests.reports.conftest import MONDAY, agents, nothing
from tests.reports.postbox import Postbox, free_port

TO = ["anna@example.org", "zoe@example.org"]


def allow(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    return AuthResult(success=isinstance(given, LoginPassword) and given.password == b"right", handled=False)


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def listening(postbox: Postbox) -> Iterator[Any]:
    """Starts the server with whatever it is to ask for; gives where it is."""
    running: list[Controller] = []

    def start(**options: Any) -> int:
        controller = Controller(postbox, hostname="127.0.0.1", port=options.pop("port", 0) or free_port(), **options)
        controller.start()
        running.append(controller)
        return int(controller.port)

    yield start
    for controller in running:
        controller.stop()


def server(port: int, **more: Any) -> Server:
    return Server("127.0.0.1", port, more.pop("security", "none"), timeout=10.0, **more)


def mail(report: Report | None = None, form: Any = "pdf") -> EmailMessage:
    return compose(report or agents(), form, "pbx@example.org", TO, MONDAY)


def read(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=SMTP)


class TestLetter:
    """What is in the mail."""

    @pytest.mark.parametrize(("form", "kind"), [("pdf", "application/pdf"), ("csv", "text/csv"), ("html", "text/html")])
    def test_text_html_and_the_report(self, form: Any, kind: str) -> None:
        made = read(mail(form=form).as_bytes())
        assert made["Subject"] == "Agents, Praxis Łódź, 24 – 30 November 2025"  # noqa: RUF001
        assert made["Auto-Submitted"] == "auto-generated"
        plain, html = made.get_body(("plain",)), made.get_body(("html",))
        assert plain is not None
        assert html is not None
        assert "Łukasz Wójcik" in plain.get_content()
        assert "&lt;script&gt;" in html.get_content()
        pictures = [part["Content-ID"] for part in made.walk() if part.get_content_type() == "image/png"]
        assert pictures == ["<chart-0>", "<chart-1>"]
        assert all(f"cid:{name[1:-1]}" in html.get_content() for name in pictures)
        (attached,) = made.iter_attachments()
        assert attached.get_content_type() == kind
        assert attached.get_filename() == f"praxis-odz-agents-2025-11-24.{form}"

    def test_text_alone(self) -> None:
        made = read(mail(form="text").as_bytes())
        assert made.get_content_type() == "text/plain"

    def test_the_same_report_is_the_same_mail(self) -> None:
        assert mail().as_bytes() == mail().as_bytes()
        other = compose(agents(), "pdf", "pbx@example.org", TO, MONDAY + 1)
        assert other["Message-ID"] != mail()["Message-ID"]

    def test_nothing_to_show(self) -> None:
        html = read(mail(nothing()).as_bytes()).get_body(("html",))
        assert html is not None
        assert "Nothing in this period." in html.get_content()

    def test_no_name_becomes_a_header(self) -> None:
        found = agents()
        harmful = Report(
            found.name, "Agents\r\nBcc: x@example.org", "pbx\nX: y", found.zone, found.start, found.end, found.by,
            found.columns, found.rows,
        )  # fmt: skip
        assert read(mail(harmful).as_bytes())["Bcc"] is None


async def test_it_is_sent_to_all_in_one_mail(postbox: Postbox, listening: Any) -> None:
    assert await send(mail(), TO, server(listening())) == {}
    ((to, content),) = postbox.taken
    assert to == TO
    assert read(content)["To"] == "anna@example.org, zoe@example.org"


async def test_a_refused_recipient_does_not_keep_it_from_the_others(postbox: Postbox, listening: Any) -> None:
    postbox.answers = {TO[0]: ["550 no such user"]}
    assert await send(mail(), TO, server(listening())) == {TO[0]: "550 no such user"}
    assert [to for to, _ in postbox.taken] == [[TO[1]]]


async def test_all_recipients_refused(postbox: Postbox, listening: Any) -> None:
    postbox.answers = {to: ["550 no such user"] for to in TO}
    with pytest.raises(MailRefused, match=r"anna@example\.org: 550 no such user"):
        await send(mail(), TO, server(listening()), iter([0, 0]))
    assert postbox.taken == []


async def test_a_deferred_recipient_is_tried_again_alone(postbox: Postbox, listening: Any) -> None:
    postbox.answers = {TO[1]: ["451 greylisted", "250 OK"]}
    assert await send(mail(), TO, server(listening()), iter([0])) == {}
    assert [to for to, _ in postbox.taken] == [[TO[0]], [TO[1]]]


async def test_a_recipient_deferred_for_ever_is_told_of(postbox: Postbox, listening: Any) -> None:
    postbox.answers = {TO[1]: ["451 later"]}
    assert await send(mail(), TO, server(listening()), iter([0])) == {TO[1]: "zoe@example.org: 451 later"}
    assert len(postbox.taken) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize(("password", "fits"), [("right", True), ("wrong", False)])
async def test_login(postbox: Postbox, listening: Any, password: str, fits: bool) -> None:
    port = listening(auth_required=True, auth_require_tls=False, authenticator=allow)
    asked = send(mail(), TO, server(port, username="pbx", password=password), iter([0, 0]))
    if fits:
        assert await asked == {}
    else:
        with pytest.raises(MailRefused, match="refused the user or the password: 535"):
            await asked
    assert len(postbox.taken) == fits


async def test_a_server_that_is_away_and_comes_back(postbox: Postbox, listening: Any) -> None:
    port = free_port()

    def pauses() -> Iterator[float]:
        yield 0
        listening(port=port)
        yield 0

    assert await send(mail(), TO, server(port), pauses()) == {}
    assert len(postbox.taken) == 1


async def test_a_server_that_stays_away() -> None:
    with pytest.raises(MailDeferred, match="cannot be reached"):
        await send(mail(), TO, server(free_port()), iter([0, 0]))


async def test_a_server_that_defers_the_mail(postbox: Postbox, listening: Any) -> None:
    postbox.to_data = ["452 disk full", "421 closing"]
    assert await send(mail(), TO, server(listening()), iter([0, 0])) == {}
    assert len(postbox.taken) == 1


async def test_a_server_that_refuses_the_mail(postbox: Postbox, listening: Any) -> None:
    postbox.to_data = ["554 too large"]
    with pytest.raises(MailRefused, match="554 too large"):
        await send(mail(), TO, server(listening()), iter([0, 0]))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made certificate for 127.0.0.1, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
         "-subj", "/CN=mail", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return both


def with_certificate(path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return context


async def test_starttls_with_a_self_made_certificate(postbox: Postbox, listening: Any, certificate: Path) -> None:
    port = listening(tls_context=with_certificate(certificate), require_starttls=True)
    assert await send(mail(), TO, server(port, security="starttls", ca_file=certificate)) == {}
    assert postbox.encrypted
    assert len(postbox.taken) == 1


# The mail server of the tests leaves a connection whose TLS the client broke off to the garbage collector, now and then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_certificate_that_nobody_vouches_for(postbox: Postbox, listening: Any, certificate: Path) -> None:
    port = listening(tls_context=with_certificate(certificate))
    with pytest.raises(MailRefused, match=r"is not trusted: self.signed certificate; see reports.mail.ca_file"):
        await send(mail(), TO, server(port, security="starttls"), iter([0, 0]))
    assert postbox.taken == []


async def test_starttls_that_is_not_offered(postbox: Postbox, listening: Any) -> None:
    with pytest.raises(MailRefused, match="does not offer"):
        await send(mail(), TO, server(listening(), security="starttls"), iter([0, 0]))
    assert postbox.taken == []


async def test_tls_from_the_start(postbox: Postbox, certificate: Path) -> None:
    controller = Controller(postbox, "127.0.0.1", free_port(), ssl_context=with_certificate(certificate))
    controller.start()
    try:
        assert await send(mail(), TO, server(controller.port, security="tls", ca_file=certificate)) == {}
    finally:
        controller.stop()
    assert len(postbox.taken) == 1


async def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MailRefused, match="cannot be read"):
        await send(mail(), TO, server(1, security="tls", ca_file=tmp_path / "none"))


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(server(25, username="pbx", password="hunter2"))
