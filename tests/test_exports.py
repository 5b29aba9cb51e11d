"""Files that pbxctl writes from a running pbxd: under their name when they are complete, whoever is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from lab.asterisk import wait_until
from lab.tree import environment
from tests.recording.spools import recording
from tests.running import Running
from tests.test_recordings import KEPT, listed

HELD_AFTER = 1000  # bytes of an answer: some of the file, and never all of it
EXPORTS = (
    ("vault", "export", "-o"),
    ("recordings", "export", "--person", "anna", "-o"),
    ("people", "export", "anna", "--to"),
)


class Held:
    """One pbxctl in the middle of an answer: what stands between it and pbxd passes on the beginning, and waits."""

    def __init__(self, running: Running, words: tuple[str, ...], target: Path) -> None:
        path = target.with_suffix(".sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._go_on, self._begun = Event(), Event()
        self._thread = Thread(target=self._pass_on, args=(str(running.folder / "control.sock"),), daemon=True)
        self._thread.start()
        command = [sys.executable, "-m", "pbxd.cli.main", "--socket", str(path), *words, str(target)]
        self._client = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
        assert self._begun.wait(60)

    def _pass_on(self, daemon: str) -> None:
        link, _ = self._listener.accept()
        with self._listener, link, socket.socket(socket.AF_UNIX) as server:
            server.connect(daemon)
            server.sendall(link.recv(65536))
            left = HELD_AFTER
            while left and (data := server.recv(left)):
                link.sendall(data)
                left -= len(data)
            self._begun.set()
            self._go_on.wait()
            with contextlib.suppress(BrokenPipeError):  # it was killed
                while data := server.recv(65536):
                    link.sendall(data)

    def ends(self) -> tuple[int, str]:
        """Let it go on; how it ended, and what it said."""
        self._go_on.set()
        _, said = self._client.communicate()
        self._thread.join()
        return self._client.returncode, said

    def killed(self) -> int:
        """kill -9; how it ended."""
        self._client.kill()
        return self.ends()[0]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Running]:
    """With a recording in the vault."""
    running = Running(tmp_path)
    with running.config.open("a") as file:
        file.write(KEPT.format(folder=tmp_path, group=os.getgid()))
    recording(tmp_path / "spool", "a1", 1.0)
    running.start()
    wait_until(lambda: listed(running) == ["a1"], "it in the vault")
    yield running
    running.kill()


def test_a_kill_leaves_nothing_under_the_name(kept: Running, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    held = {words: Held(kept, words, folder / words[0]) for words in EXPORTS}
    for words, one in held.items():
        target, hidden = folder / words[0], folder / f".{words[0]}.part"
        assert (target.exists(), hidden.exists()) == (False, True)
        second = kept.ctl(*words, str(target))
        assert (second.returncode, f"another pbxctl is writing {hidden}" in second.stderr) == (1, True)
        assert one.killed() == -signal.SIGKILL
        assert (target.exists(), hidden.exists()) == (False, True)
        hidden.chmod(0o644)  # nobody's who reads it since goes on in the new one
        with hidden.open("rb") as reader:
            done = kept.ctl(*words, str(target))
            assert done.returncode == 0, done.stderr
            assert len(reader.read()) < target.stat().st_size
        assert target.stat().st_mode & 0o777 == 0o600
        assert not hidden.exists()


def test_a_daemon_that_ends_in_the_middle_leaves_no_file(kept: Running, tmp_path: Path) -> None:
    target = tmp_path / "all.tar"
    target.write_bytes(b"of yesterday")
    one = Held(kept, EXPORTS[0], target)
    kept.kill()
    status, said = one.ends()
    assert (status, "stopped in the middle" in said) == (1, True)
    assert target.read_bytes() == b"of yesterday"
    assert not (tmp_path / ".all.tar.part").exists()


def test_what_is_no_file_is_left_in_its_place(kept: Running, tmp_path: Path) -> None:
    """A link is followed, a pipe written to; what stands where the hidden file goes, and is none, is not touched."""
    (tmp_path / "link").symlink_to(tmp_path / "behind")
    assert kept.ctl(*EXPORTS[0], str(tmp_path / "link")).returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert b"recording/a1.json" in (tmp_path / "behind").read_bytes()
    assert kept.ctl(*EXPORTS[0], "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()
    piped = kept.ctl(*EXPORTS[0], "/dev/stderr", errors="replace")
    assert (piped.returncode, "recording/a1.json" in piped.stderr) == (0, True)
    (tmp_path / "elsewhere").write_bytes(b"somebody's")
    (tmp_path / ".all.tar.part").symlink_to(tmp_path / "elsewhere")
    refused = kept.ctl(*EXPORTS[0], str(tmp_path / "all.tar"))
    assert (refused.returncode, (tmp_path / "all.tar").exists()) == (1, False)
    assert (tmp_path / "elsewhere").read_bytes() == b"somebody's"
