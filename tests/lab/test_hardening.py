"""pbxd with what the unit leaves it: no capability, no new privileges, no memory that is written and run, the group of Asterisk."""

from __future__ import annotations

import sys

import pytest

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.sip import Called, Caller

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
# prctl(2): PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, what MemoryDenyWriteExecute= stands on; kept across execve
DENY_WRITE_EXECUTE = (
    "import ctypes, os, sys; print(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)); os.execvp(sys.argv[1], sys.argv[1:])"
)


def test_it_reads_rotates_and_deletes_without_privileges(new_box: Box) -> None:
    box = new_box
    box.pbxd.configure(more="journal: {rotate_at: 1kB, keep: 1ms}\n")
    _, group = owner(box.asterisk.tree)
    without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", f"--groups={group}"]
    box.asterisk.start()
    box.pbxd.start(*without, sys.executable, "-c", DENY_WRITE_EXECUTE)
    assert box.pbxd.process is not None
    with open(f"/proc/{box.pbxd.process.pid}/status") as file:  # noqa: PTH123 - proc, not a file
        status = dict(line.split(":\t") for line in file if ":\t" in line)
    assert int(status["CapEff"], 16) == 0
    for count in (1, 2):
        called = box.phones.start(Called("111").ring().answer().expect_bye())
        box.phones.start(Caller("101").answered().wait(200).bye(), "111").finish()
        called.finish()
        box.wait_for_calls(count)
    wait_until(lambda: not box.asterisk.journal.exists(), "the journal to be rotated", 20)
    wait_until(lambda: not list(box.asterisk.journal.parent.iterdir()), "the part to be deleted", 90)
    assert [record["disposition"] for record in box.pbxd.records()] == ["answered", "answered"]
