"""Real calls that are recorded while pbxd and its encoder are killed: none lost, none doubled, nothing left anywhere.

    python -m tests.soak.kill_recording --kills 200 --calls 20 [--seed N] [--memory MIB]

A lab's Asterisk has `--calls` calls up at any time, between phones that each speak a tone of their own. pbxd is killed with -9: at
each step of a recording's way in turn (`steps`), at any moment of its start and after it, and its encoder alone. When the kills are
done the calls end, and all is judged by `verdict`. With `--memory` the spool is a disk of so many MiB, which is short again and
again, and there is a second one. Exit 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.demo import say
from lab.desk import Desk
from lab.tree import LabError
from pbxd.cli.client import Client
from pbxd.errors import ControlError
from tests.soak.steps import STEPS, Step, Watch, where
from tests.soak.verdict import Talk, exported, judged, plain_sound

PHONES = tuple(str(number) for number in range(111, 121))  # with four lines each: 20 calls
TONES = {number: 500 + 100 * n for n, number in enumerate(PHONES)}
LOOK = 0.2  # s between looks whether pbxd is up
STEP_WAIT = 8.0  # s for a step to come; then the kill comes anyway
EMPTY = 900.0  # s for the spool to be emptied when the calls are over
CHANGED = "the spools' room changed"
PIECE = 64  # bytes of a sound file that are looked for afterwards


@dataclass(slots=True)
class Done:
    """What was done, and when; epoch seconds."""

    talks: list[Talk] = field(default_factory=list)
    downs: list[tuple[float, float]] = field(default_factory=list)
    caught: Counter[str] = field(default_factory=Counter)  # where a kill caught a recording, as the disk says
    steps: Counter[str] = field(default_factory=Counter)  # at which sign it was killed
    encoders: int = 0
    pieces: set[bytes] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)


class Site:
    """A box that records every call, and its phones."""

    def __init__(
        self, folder: Path, calls: int, chance: random.Random, talk: tuple[float, float], memory: int = 0
    ) -> None:
        self.box = Box(folder, say)
        self.desk = Desk(self.box.asterisk)
        self.spool = self.box.asterisk.folder / "spool" / "recordings"
        self.comms = folder / "comms"
        self.second = Path(tempfile.mkdtemp(prefix="pbxd-soak-", dir="/dev/shm")) if memory else None
        two = self._small(memory, self.second) if self.second is not None else ""
        self.done = Done()
        self._chance = chance
        self._first = chance.randrange(len(STEPS))
        self._talk = talk
        self._client = Client(self.box.pbxd.socket)
        self._down_since: float | None = None
        self._killing = threading.Lock()
        self._over = threading.Event()
        self._turns = {number: threading.Lock() for number in PHONES}
        self._threads = [threading.Thread(target=self._call, args=pair) for pair in pairs(calls)]
        self._threads.append(threading.Thread(target=self._look))
        self.box.pbxd.configure(
            more=f"comms: {{folder: {self.comms}, key_file: {folder}/keys/comms.key}}\n"
            f"recording: {{enabled: true, spool: {self.spool}, spool_in_asterisk: /lab/spool/recordings, "
            f"spool_group: '{owner(self.box.asterisk.tree)[1]}', rules: [{{record: always, consent: none}}]{two}}}"
        )

    def _small(self, memory: int, second: Path) -> str:
        """Make the spool a disk of `memory` MiB; keys of recording that name `second` beside it."""
        self.spool.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={memory}m", "pbxd-soak", self.spool], check=True)
        second.chmod(0o755)
        return f", spool_on_disk: {second / 'spool'}, spool_reserve: {memory * 1024 // 2}KiB"

    @property
    def spools(self) -> list[Path]:
        """All of them."""
        return [self.spool] if self.second is None else [self.spool, self.second / "spool"]

    def start(self) -> None:
        """Asterisk, pbxd, phones, calls."""
        self.box.start()
        wait_until(lambda: self.comms.joinpath("comms.db").exists() and self.spool.exists(), "the store")
        for number, tone in TONES.items():
            self.desk.phone(number, tone=tone)
        for thread in self._threads:
            thread.start()

    def _call(self, caller: str, called: str) -> None:
        """One call after the other between two phones, until it is over."""
        chance = random.Random(f"{self._chance.random()} {caller} {called}")
        while not self._over.is_set():
            try:
                with self._turns[called]:
                    line = self.desk.call(caller, called)
                    self.desk.incoming(called).answer()
                    line.talks()
                begin = time.time()
                self._over.wait(chance.uniform(*self._talk))
                end = time.time()
                line.hang_up()
                self.done.talks.append(Talk(caller, called, begin, end))
            except LabError as error:
                self.done.troubles.append(f"{caller} to {called}: {error}")
                return
            time.sleep(chance.uniform(0.2, 0.6))

    def end_calls(self) -> None:
        """All hang up."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    # pbxd

    def up(self) -> bool:
        """Whether pbxd has its AMI session; if so, it is not down any more."""
        process = self.box.pbxd.process
        try:
            status: dict[str, Any] = self._client.get("/v1/status")
        except ControlError:
            return False
        with self._killing:
            connected = bool(status["ami"]["connected"]) and self.box.pbxd.process is process
            if connected and self._down_since is not None:
                self.done.downs.append((self._down_since, time.time()))
                self._down_since = None
        return connected

    def _look(self) -> None:
        """Notice when pbxd is up, until it is over."""
        while not self._over.wait(LOOK):
            self.up()

    def kill(self) -> None:
        """kill -9 of pbxd; what it caught is noted."""
        with self._killing:
            if self._down_since is None:
                self._down_since = time.time()
            self.box.pbxd.kill()
        self.done.caught[where(self.spool, self.comms)] += 1
        for path in (path for spool in self.spools for path in spool.glob("*/*.rx.wav")):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(8000)
                if len(piece := file.read(PIECE)) == PIECE and len(set(piece)) > PIECE // 8:
                    self.done.pieces.add(piece)
            break

    def kill_encoder(self) -> bool:
        """kill -9 of the encoder, if there is one."""
        process = self.box.pbxd.process
        for pid in _children(process.pid if process is not None else 0):
            with contextlib.suppress(OSError):
                if b"pbxd.recording.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    self.done.encoders += 1
                    return True
        return False

    def kill_once(self, n: int) -> None:
        """The nth kill: every second one at a step, each sixth of the encoder, the others at any moment."""
        if n % 6 == 5:
            deadline = time.monotonic() + STEP_WAIT
            while not self.kill_encoder() and time.monotonic() < deadline:
                time.sleep(0.01)
            return
        if n % 2 == 0:
            self._kill_at(STEPS[(self._first + n // 2) % len(STEPS)])
        else:
            if n % 4 == 1:  # while it runs; the others while it starts
                wait_until(self.up, "pbxd to be up")
            time.sleep(self._chance.uniform(0, 3))
            self.kill()
        self.box.pbxd.start(ready=False)

    def _kill_at(self, step: Step) -> None:
        watch = Watch(self.spool, self.comms)
        seen = watch.wait(step, STEP_WAIT)
        watch.close()
        time.sleep(self._chance.choice((0.0, self._chance.uniform(0, 0.003))))
        self.kill()
        self.done.steps[step.name if seen else "no sign came"] += 1

    # The end

    def settle(self) -> None:
        """Wait until all recordings are out of the spool."""
        wait_until(self.up, "pbxd to be up")
        for spool in self.spools:
            wait_until(lambda: not [*spool.glob("*/"), *spool.glob(".*/")], f"{spool} to be empty", EMPTY)  # noqa: B023 - at once

    def faults(self) -> list[str]:
        """All that is wrong at the end."""
        tar = self.box.folder / "export.tar"
        scratch = self.box.folder / "heard"
        ctl = self.box.pbxd.ctl
        wrong = self.done.troubles + plain_sound((self.comms, self.box.pbxd.folder), self.done.pieces)
        for command in (("vault", "verify"), ("audit", "verify")):
            if (told := ctl(*command, check=False)).returncode:
                wrong.append(f"pbxctl {' '.join(command)}: {told.stdout}{told.stderr}")
        vault = json.loads(ctl("vault", "status", "--json").stdout)
        recordings = self.box.pbxd.status()["recordings"]
        wrong += [f"vault: {key}: {vault[key]}" for key in ("missing", "orphans", "error") if vault[key]]
        wrong += [f"recordings: {key}: {recordings[key]}" for key in ("damaged", "failing", "error") if recordings[key]]
        ctl("vault", "export", "-o", str(tar))
        made = exported(tar, scratch)
        tar.unlink()
        listed = json.loads(ctl("recordings", "list", "--limit", "1000000", "--json").stdout)
        files = list(self.comms.glob("objects/*/*"))
        if not len(listed) == len(files) == len(made):
            wrong.append(f"{len(listed)} are in the catalogue, {len(files)} files are there, {len(made)} were exported")
        quiet, heard = sum(one.quiet for one in made), sum(one.seconds for one in made)
        say(f"{len(made)} recordings, {heard:.0f} s of sound; in {quiet:.1f} s of it a phone or Asterisk stood still")
        if self.second is not None:
            say(f"{sum(one.pieces > 1 for one in made)} recordings went on in the other spool")
            made = [replace(one, pieces=1) for one in made]
        return wrong + judged(self.done.talks, made, self.done.downs, TONES)

    def close(self) -> None:
        """Take everything away."""
        self._over.set()
        self.desk.close()
        if self.second is not None:
            subprocess.run(["umount", "-l", self.spool], check=True)
            shutil.rmtree(self.second)
        self.box.stop()


def pairs(calls: int) -> Iterator[tuple[str, str]]:
    """Who calls whom; no pair twice, no phone with more than two calls out and two in."""
    for n in range(calls):
        yield PHONES[n % 10], PHONES[(n + 1 + n // 10) % 10]


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def run(
    folder: Path, kills: int, calls: int, seed: int, talk: tuple[float, float] = (4.0, 16.0), memory: int = 0
) -> list[str]:
    """Do it; what is wrong. What was done is said."""
    site = Site(folder, calls, random.Random(seed), talk, memory)
    try:
        site.start()
        for n in range(kills):
            site.kill_once(n)
            if n % 20 == 19:
                say(f"  {n + 1} kills, {len(site.done.talks)} calls are over")
        site.end_calls()
        site.settle()
        done = site.done
        down = sum(end - begin for begin, end in done.downs)
        say(f"{len(done.talks)} calls; pbxd was down {len(done.downs)} times, {down:.0f} s in all")
        say(f"killed: {done.encoders} encoders; at the sign of {dict(done.steps)}")
        if memory:
            say(f"a spool was left for lack of room {site.box.pbxd.log.read_text().count(CHANGED)} times")
        say(f"a kill of pbxd found the recordings at: {dict(done.caught)}")
        return site.faults()
    finally:
        site.close()


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--calls", type=int, default=20, choices=range(1, 21), metavar="1-20")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--memory", type=int, default=0, help="MiB of the first spool; 0 is one spool with room")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pbxd-soak-"))
    folder.chmod(0o755)
    begun = time.monotonic()
    wrong = run(folder, arguments.kills, arguments.calls, arguments.seed, memory=arguments.memory)
    say("".join(f"WRONG {one}\n" for one in wrong) + f"{len(wrong)} wrong, {time.monotonic() - begun:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
