"""Starts phones: one SIPp process a phone (or a whole load of calls), each at its own loopback address."""

from __future__ import annotations

import subprocess
from itertools import count
from pathlib import Path

from lab.asterisk import Asterisk, wait_until
from lab.sip import Called, Phone
from lab.tree import LabError, run

TONE_SECONDS = 5


class Handset:
    """A phone that has been started: one SIPp process that plays `phone` and ends with its call."""

    def __init__(self, phone: Phone, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.phone = phone
        self.process = process
        self.folder = folder

    def finish(self, seconds: float = 60) -> None:
        """Return when the call went as the phone's steps say; a LabError with SIPp's own words if it did not."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = -9
        if code != 0:
            errors = "\n".join(file.read_text(errors="replace")[-2000:] for file in self.folder.glob("*errors.log"))
            screen = (self.folder / "screen").read_text(errors="replace")[-600:]
            raise LabError(f"the phone {self.phone.number} ended with {code} ({self.folder}):\n{errors or screen}")

    def stop(self) -> None:
        """Take it away, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Phones:
    """The phones around one Asterisk; `folder` gets their scenarios and logs."""

    def __init__(self, asterisk: Asterisk, folder: Path) -> None:
        self.asterisk = asterisk
        self.folder = folder
        self.started: list[Handset] = []
        self._numbers = count()
        folder.mkdir(parents=True, exist_ok=True)
        self.audio = folder / "tone.al"
        if not self.audio.exists():
            tone = ["synth", str(TONE_SECONDS), "sine", "440", "gain", "-6"]
            run(
                ["sox", "-n", "-r", "8000", "-c", "1", "-e", "a-law", "-t", "raw", str(self.audio), *tone],
                "making a tone",
            )

    def start(self, phone: Phone, dial: str = "", *, address: str = "", options: tuple[str, ...] = ()) -> Handset:
        """Start `phone` for one call; it dials `dial`, or waits to be called. A called one listens when this returns."""
        address = address or self.asterisk.phone(phone.number)
        folder = self.folder / f"{next(self._numbers):04d}-{phone.number}"
        folder.mkdir()
        (folder / "call.xml").write_text(phone.xml())
        command = ["sipp", "-sf", "call.xml", "-i", address, "-p", "5060", "-mi", address, "-m", "1", "-aa"]
        command += ["-trace_err", "-nostdin", "-timeout", "120s", *options]
        if dial:
            command += ["-s", dial, f"{self.asterisk.address}:5060"]
            command[command.index("-p") + 1] = "5062"  # a phone can call and be called at one address
        with (folder / "screen").open("wb") as screen:
            process = subprocess.Popen(command, cwd=folder, stdout=screen, stderr=screen, stdin=subprocess.DEVNULL)
        handset = Handset(phone, process, folder)
        self.started.append(handset)
        if isinstance(phone, Called):
            wait_until(lambda: process.poll() is not None or listens(address, 5060), f"the phone {phone.number}")
        return handset

    def stop(self) -> None:
        """Take all phones away."""
        for handset in self.started:
            handset.stop()


def listens(address: str, port: int) -> bool:
    """Whether a UDP socket is bound to `address:port` on this machine (proc_net_udp)."""
    wanted = "".join(f"{int(byte):02X}" for byte in reversed(address.split("."))) + f":{port:04X}"
    return any(line.split()[1] == wanted for line in Path("/proc/net/udp").read_text().splitlines()[1:])
