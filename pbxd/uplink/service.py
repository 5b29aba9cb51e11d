"""The uplink's part of the daemon: decides what may leave, puts it into the ledger, and says whether the link may run.

The daemon itself never talks to the vendor. What the configuration and the customer switch takes effect at once, is a line of the
ledger, and holds over restarts; where it cannot be carried out whole (a full disk), the link is stopped: nothing fails open.
"""

from __future__ import annotations

import asyncio
import grp
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from pbxd import __version__
from pbxd.errors import LedgerError, StoreError, UplinkError
from pbxd.uplink.checkpoint_log import CheckpointLog
from pbxd.uplink.checkpoint_mail import CheckpointMail
from pbxd.uplink.enrolment import CERTIFICATE, ENROLMENT, IDENTITY, KEY, Enrolment, LinkSettings
from pbxd.uplink.link_status import link_status
from pbxd.uplink.outbox import DOWN, ENABLED, OFF, SETTINGS
from pbxd.uplink.supply import Box, Supply
from pbxd.waking import woken

if TYPE_CHECKING:
    from pbxd.uplink.audit import Verdict
    from pbxd.uplink.book import Item
    from pbxd.uplink.ledger import Ledger

TICK = 1.0  # s between two looks
AGAIN = 3600.0  # s between two looks at whether quarters that were sent have changed
STOPS = (
    "remote administration by the vendor", "graphical reports at the vendor", "support sessions", "offers of updates and notices",
)  # fmt: skip
PBXCTL = "pbxctl"
HOW_TO_ENROL = "enrol: pbxctl uplink enrol TOKEN"
log = structlog.get_logger("pbxd.uplink")
T = TypeVar("T")
Entered = tuple[Mapping[str, Mapping[str, Any]], Mapping[str, str]]  # openings by ticket; why those ended that have


class UplinkService:
    """One box's uplink."""

    def __init__(self, box: Box, clock: Callable[[], float] = time.time) -> None:
        self._box = box
        self._clock = clock
        uplink = box.config.uplink
        self.outbox, self.state = uplink.outbox, uplink.state
        self.error = ""  # why nothing is queued, if so
        self.enrolment: Enrolment | None = None
        self.tickets: Callable[[], Sequence[Mapping[str, Any]]] = list  # open ones, for the class config
        self.messages: Callable[[], Sequence[Mapping[str, Any]]] = list  # what became of messages down
        self._ledger: Ledger | None = None
        self._there = asyncio.Event()  # set once the ledger is open
        self._lock = asyncio.Lock()  # one at a time with the ledger
        self._health_due = self._again_due = 0.0  # monotonic
        self._wake = asyncio.Event()
        self.supply = Supply(box, self._do, lambda: self.ledger, lambda: self.on, clock)
        self._switched_by = ""  # who has just asked for it, until it is in the ledger
        self._candidate: bytes | None = None  # the private key that an enrolment under way is for
        self.letters = CheckpointMail(lambda: box.config, lambda: self.ledger, clock)
        self.logged = CheckpointLog(lambda: box.config, clock)

    @property
    def ledger(self) -> Ledger:
        """The ledger. LedgerError if the box is not enrolled, or it cannot be read."""
        if self._ledger is None:
            raise LedgerError(self.error or f"this box is not enrolled: {HOW_TO_ENROL}")
        return self._ledger

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is to be kept running, by name."""
        return {"uplink": self.run, "checkpoints": self.letters.run}

    async def run(self) -> None:
        """Look after the outbox, for ever."""
        while True:
            self._wake.clear()  # before the look: what is woken during it is looked at again
            try:
                await self._look()
                self.error = ""
            except (UplinkError, StoreError) as error:
                if str(error) != self.error:
                    log.error("nothing is queued for the uplink", error=str(error))
                self.error = str(error)
            await woken(self._wake, TICK)

    async def close(self) -> None:
        """Let go of the ledger."""
        async with self._lock:
            if self._ledger is not None:
                self._ledger.close()
                self._ledger = None

    async def _do(self, work: Callable[[Ledger], T]) -> T:
        """Something with the ledger, beside the loop: it waits for the disk."""
        async with self._lock:
            return await asyncio.to_thread(work, self.ledger)

    async def _look(self) -> None:
        if self._ledger is None and not await self._open():
            return
        await self.apply()
        await self._do(lambda ledger: ledger.fold(self.state))
        if not self.on:
            return
        await self.supply.config(self.tickets(), self.messages())
        if self.sharing:
            await self.supply.stats()
        now = time.monotonic()
        if now >= self._health_due:
            self._health_due = now + self._box.config.uplink.health_every
            await self.supply.health()
        if now >= self._again_due:
            self._again_due = now + AGAIN
            if self.sharing:
                await self.supply.revise()
            keep = self._box.config.uplink.keep_bodies
            if keep is not None:
                await self._do(lambda ledger: ledger.shred(keep))

    async def _open(self) -> bool:
        """Open the ledger, if the box is enrolled."""
        self.enrolment = Enrolment.read(self.outbox)
        if self.enrolment is None:
            return False
        try:
            async with self._lock:
                self._ledger = await asyncio.to_thread(self._opened)
                self._there.set()
        except UplinkError:
            self._forbid()  # of a ledger that was changed, or cannot be read, nothing leaves
            raise
        return True

    def _opened(self) -> Ledger:
        from pbxd.uplink.keyring import read_signer  # noqa: PLC0415 - cryptography costs 9 MB, which a box without uplink saves
        from pbxd.uplink.ledger import Ledger, hand  # noqa: PLC0415

        ledger = Ledger(
            self.outbox,
            read_signer(self._box.config.uplink.key_file),
            group=self._group(),
            now=lambda: datetime.fromtimestamp(self._clock(), UTC),
            publish=self.logged.publish,
        )
        ledger.open()
        for name, mode in ((IDENTITY, 0o2750), (DOWN, 0o2770)):
            folder = self.outbox / name
            folder.mkdir(exist_ok=True)
            hand(folder, self._group(), mode)
        return ledger

    def _group(self) -> int:
        """The group of the link's user; none where it does not exist: then nobody but us and root reads the outbox."""
        try:
            return grp.getgrnam(self._box.config.uplink.group).gr_gid
        except KeyError:
            return -1

    # What is switched

    @property
    def off(self) -> bool:
        """Whether the customer has said so with `pbxctl uplink off`."""
        return (self.outbox / OFF).exists()

    @property
    def switched_off(self) -> str:
        """By what the customer has switched it off; empty if it is not."""
        if not self._box.config.uplink.enabled:
            return "uplink.enabled is false"
        return "pbxctl uplink off" if self.off else ""

    @property
    def on(self) -> bool:
        """Whether the link may run."""
        return not self.switched_off and self._box.config.uplink.hub is not None and self.enrolment is not None

    @property
    def sharing(self) -> bool:
        """Whether statistics may be queued."""
        return self._box.config.uplink.share_statistics

    async def apply(self) -> None:
        """What the configuration and the customer say holds from now on. LedgerError if that cannot be put down; then it is off."""
        if not self.on:
            self._forbid()
        if self._ledger is None:
            return
        try:
            await self._do(self._put_down)
        except UplinkError:
            self._forbid()
            raise

    async def reload(self) -> None:
        """The configuration has changed. What cannot be put down is told and tried again; the link is off until then."""
        try:
            await self.apply()
        except UplinkError as error:
            self.error = str(error)
            log.error("the uplink is off: what was switched cannot be put down", error=str(error))
        self._wake.set()
        self.letters.configure()

    def _forbid(self) -> None:
        (self.outbox / ENABLED).unlink(missing_ok=True)

    def _put_down(self, ledger: Ledger) -> None:
        """Lines for what is switched otherwise than the ledger says; then the link's settings, and the flag that lets it run."""
        for name, value in (("uplink", self.on), ("share_statistics", self.sharing)):
            said = ledger.book.switches.get(name, ("", ""))[0]
            if said != str(value).lower():
                by = (self._switched_by or (PBXCTL if self.off else "")) if name == "uplink" else ""
                ledger.append(
                    {"what": "switch", "name": name, "value": str(value).lower(), "by": by or "configuration"}
                )
        self._switched_by = ""
        if not self.sharing:
            self._destroy(ledger, lambda item: item.class_ == "stats", "configuration")
        settings = self._link_settings(ledger)
        if settings is not None and LinkSettings.read(self.outbox) != settings:
            ledger.replace(SETTINGS, settings.encoded())
        if self.on and not (self.outbox / ENABLED).exists():
            ledger.replace(ENABLED, b"")

    def _destroy(self, ledger: Ledger, which: Callable[[Item], bool], by: str) -> list[int]:
        waiting = [item for item in ledger.outbox.waiting() if which(item)]
        return ledger.destroy(waiting, by, self.state) if waiting else []

    def _link_settings(self, ledger: Ledger) -> LinkSettings | None:
        uplink = self._box.config.uplink
        if uplink.hub is None:
            return None
        try:
            identity = hashlib.sha256((self.outbox / CERTIFICATE).read_bytes()).hexdigest()
        except OSError as error:
            raise UplinkError(
                f"{self.outbox / CERTIFICATE} cannot be read: {error.strerror}; {HOW_TO_ENROL}"
            ) from error
        return LinkSettings(
            uplink.hub, uplink.host_keys, uplink.keepalive, uplink.keepalive_count, uplink.reconnect_first,
            uplink.reconnect_longest, uplink.bandwidth, ledger.signer.verifier.text, __version__, identity,
            uplink.classical_kex,
        )  # fmt: skip

    async def switch(self, *, on: bool, by: str = PBXCTL) -> dict[str, Any]:
        """`pbxctl uplink on` and `off`: at once, and over restarts. `by`, here and below: who, for the ledger."""
        self._switched_by = by
        if on:
            (self.outbox / OFF).unlink(missing_ok=True)
        else:
            self.outbox.mkdir(parents=True, exist_ok=True)
            (self.outbox / OFF).touch()
        await self.apply()
        self._wake.set()
        self.letters.configure()
        waiting = 0
        if self._ledger is not None:
            await self._do(lambda ledger: ledger.fold(self.state))  # what has just been sent waits no more
            waiting = len(self._ledger.book.open)
        return {"on": self.on, "stops": list(STOPS), "waiting": waiting}

    async def destroy_unsent(self, by: str = PBXCTL) -> list[int]:
        """Destroy everything that was not sent. The numbers of the entries."""
        return await self._do(lambda ledger: self._destroy(ledger, lambda _: True, by))

    async def event(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Put down that a support ticket or session begins or ended. LedgerError if that is not on the disk."""
        await self._do(lambda ledger: ledger.append({"what": "support", "event": kind, "facts": dict(facts)}))

    async def tickets_entered(self) -> Entered:
        """What the ledger has of support tickets; waits until it is open."""
        await self._there.wait()
        book = self.ledger.book
        return book.tickets, book.tickets_ended

    async def message(self, name: str, note: bytes) -> None:
        """Put down that a message came down."""
        line = {"what": "message", "id": name, "size": len(note), "sha256": hashlib.sha256(note).hexdigest()}
        await self._do(lambda ledger: ledger.append(line))

    # What is shown

    def status(self) -> dict[str, Any]:
        """How the uplink stands."""
        uplink = self._box.config.uplink
        book = self._ledger.book if self._ledger is not None else None
        link = link_status(self.state)
        return {
            "enrolled": self.enrolment.box if self.enrolment is not None else None,
            "hub": uplink.hub,
            "enabled": uplink.enabled,
            "off": self.off,
            "on": self.on,
            "share_statistics": uplink.share_statistics,
            "error": self.error,
            "waiting": len(book.open) if book is not None else 0,
            "waiting_bytes": sum(item.size for item in book.open.values()) if book is not None else 0,
            "oldest": min((item.created for item in book.open.values()), default=None) if book is not None else None,
            "entries": book.entries if book is not None else 0,
            "lines": book.lines if book is not None else 0,
            "strange": self._ledger.strange if self._ledger is not None else 0,
            "link": link,
            "checkpoints": {"to": uplink.checkpoints, **self.letters.status(), "unlogged": self.logged.error},
            "connected": link["state"] == "connected",
            "stops": list(STOPS) if not self.on else [],
        }

    def preview(self) -> list[dict[str, Any]]:
        """What would go next, in its order."""
        return [
            {
                "number": item.number,
                "class": item.class_,
                "size": item.size,
                "sha256": item.sha256,
                "created": item.created,
            }
            for item in (self._ledger.outbox.waiting() if self._ledger is not None else [])
        ]

    def body(self, number: int) -> bytes:
        """The bytes of an entry, as they go up or went. LedgerError if there are none any more."""
        ledger = self.ledger
        if number >= ledger.book.entries:
            raise LedgerError(f"there is no entry {number}; the last one is {ledger.book.entries - 1}")
        found = ledger.outbox.piece(number, 0, ledger.outbox.item(number).size)
        if found is None:
            raise LedgerError(f"the body of entry {number} was destroyed; its hash is in the ledger")
        return found

    async def verify(self, elsewhere: Sequence[str]) -> Verdict:
        """Look at every line, signature and body. `elsewhere`: checkpoints that were kept out of our reach."""
        from pbxd.uplink.audit import verify  # noqa: PLC0415

        return await self._do(lambda ledger: verify(ledger.folder, ledger.signer.verifier, elsewhere))

    # Enrolment: the keys are made here; the talk with the hub is pbxctl's, for the daemon may not dial out

    async def apply_for(self) -> dict[str, Any]:
        """The public halves of new keys, and what is needed to dial. UplinkError if there is no hub, or a key cannot be written."""
        from pbxd.uplink.keyring import make_signer, new_identity, read_signer  # noqa: PLC0415

        uplink = self._box.config.uplink
        if uplink.hub is None:
            raise UplinkError("set uplink.hub and uplink.host_keys first: see docs/uplink.md")
        name = self._box.config.site.name

        def make() -> tuple[str, str]:
            signer = (read_signer if uplink.key_file.exists() else make_signer)(uplink.key_file)
            private, public = new_identity()
            self._candidate = private
            return public, signer.verifier.text

        async with self._lock:
            public, ledger = await asyncio.to_thread(make)
        return {
            "hub": uplink.hub, "host_keys": list(uplink.host_keys), "classical_kex": uplink.classical_kex,
            "key": public, "ledger": ledger, "name": name,
        }  # fmt: skip

    async def take_in(self, answer: Mapping[str, Any], by: str = PBXCTL) -> None:
        """The hub's answer: from now on the box is enrolled. UplinkError if it is none, or cannot be kept."""
        from pbxd.uplink.keyring import read_signer  # noqa: PLC0415

        uplink = self._box.config.uplink
        private = self._candidate
        if private is None or uplink.hub is None:
            raise UplinkError("nobody has asked for it: pbxctl uplink enrol does")
        key = await asyncio.to_thread(read_signer, uplink.key_file)
        try:
            made = Enrolment(
                answer["box"],
                uplink.hub,
                answer["until"],
                answer["support_ca"],
                answer["message_key"],
                key.verifier.text,
            )
            certificate = answer["certificate"].encode()
        except (KeyError, AttributeError) as error:
            raise UplinkError(f"the hub's answer is not whole: {error}") from error
        self.enrolment = None  # the link may not run while its files change
        self._forbid()
        async with self._lock:
            if self._ledger is None:
                self._ledger = await asyncio.to_thread(self._opened)
                self._there.set()
            ledger = self._ledger

            def keep() -> None:
                ledger.replace(KEY, private)
                ledger.replace(CERTIFICATE, certificate)
                ledger.append({"what": "switch", "name": "enrolled", "value": made.box, "by": by})
                ledger.replace(ENROLMENT, made.encoded())

            await asyncio.to_thread(keep)
        self._candidate = None
        self.enrolment = made
        await self.apply()
        self._wake.set()
