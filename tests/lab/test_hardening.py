"""pbxd with what the unit leaves it: no capability, no new privileges, no memory that is written and run, the group of Asterisk."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lab.asterisk import owner, wait_until
from lab.box import Box
from lab.desk import Desk
from lab.sip import Called, Caller
from lab.transfers import connect
from tests.lab.office import Office

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
# prctl(2): PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, what MemoryDenyWriteExecute= stands on; kept across execve
DENY_WRITE_EXECUTE = (
    "import ctypes, os, sys; print(ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)); os.execvp(sys.argv[1], sys.argv[1:])"
)
# seccomp(2): what RestrictSUIDSGID= refuses, and of ~@privileged what gives files away; answered with EPERM, as in the unit
GIVE_NOTHING_AWAY = """
import ctypes, os, sys
class Bits(ctypes.Structure):  # struct scmp_arg_cmp, with SCMP_CMP_MASKED_EQ
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64)]
lib = ctypes.CDLL("libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
rules = ctypes.c_void_p(lib.seccomp_init(0x7FFF0000))
def refuse(name, *bits):
    number = lib.seccomp_syscall_resolve_name(name.encode())
    assert lib.seccomp_rule_add_array(rules, 0x00050001, number, len(bits), (Bits * len(bits))(*bits)) == 0, name
for name, arg in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2)):
    for bit in (0o4000, 0o2000):
        refuse(name, Bits(arg, 7, bit, bit))
for name in ("chown", "fchown", "lchown", "fchownat"):
    refuse(name)
assert lib.seccomp_load(rules) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def without(box: Box) -> list[str]:
    """A command that takes what it runs all capabilities, and leaves it Asterisk's group."""
    _, group = owner(box.asterisk.tree)
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", f"--groups={group}"]


def test_it_records_though_it_may_give_nothing_to_another_group(new_box: Box) -> None:
    """Into a spool as `pbxd.tmpfiles` makes it."""
    box = new_box
    with TemporaryDirectory(dir="/dev/shm") as place, closing(Desk(box.asterisk)) as desk:
        spool = Path(place) / "spool"
        spool.mkdir()
        os.chown(spool, -1, owner(box.asterisk.tree)[1])
        spool.chmod(0o2770)
        Path(place).chmod(0o755)
        office = Office(box, desk, spool, "{record: always, consent: none}")
        office.configure()
        box.asterisk.start()
        box.pbxd.start(*without(box), sys.executable, "-c", GIVE_NOTHING_AWAY)
        wait_until(lambda: bool(box.pbxd.status()["ami"]["connected"]), "pbxd's AMI session")
        desk.phones({"101": 500, "102": 600})
        line, _ = connect(desk, "101", "102")
        office.pauses("101")
        desk.pause(1.2)
        line.hang_up()
        made = office.only_one("101")
        assert made.talks() == [(500, 600)]
        assert made.facts["faults"] == []
        box.pbxd.stop()


def test_it_reads_rotates_and_deletes_without_privileges(new_box: Box) -> None:
    box = new_box
    box.pbxd.configure(more="journal: {rotate_at: 1kB, keep: 1ms}\n")
    box.asterisk.start()
    box.pbxd.start(*without(box), sys.executable, "-c", DENY_WRITE_EXECUTE)
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
