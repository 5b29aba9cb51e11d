"""What tests of the lab share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from lab.box import Box
from lab.desk import Desk
from tests.conftest import reachable, say
from tests.lab.office import Office, announcements, endpoint_options

RULES = (
    "{record: never, extension: [124]}, {record: always, extension: [131, 133, 136]}, "
    "{record: always, extension: [135], consent: beep}, {record: on_demand, extension: [132], consent: none}, "
    "{record: always, extension: [123], consent: none, class: order}, {record: always, consent: none}"
)
OPTIONS = {"128": "language=de", "118": "dtmf_mode=info", "120": "dtmf_mode=inband"}
DIALPLAN = """
[phones](+)
; told first, then connected; the second sound is not there
exten => 860,1,Answer()
 same => n,AGI(agi://{address}/announce?sound=vm-goodbye)
 same => n,Dial(PJSIP/131,30)
exten => 861,1,Answer()
 same => n,AGI(agi://{address}/announce?sound=no-such-sound)
 same => n,Dial(PJSIP/131,30)
exten => _*6XXX,1,Gosub(pbxd-announce,s,1)
 same => n,Dial(PJSIP/${{EXTEN:2}},30)
; by feature codes
exten => 862,1,Set(__DYNAMIC_FEATURES=rec_start#rec_stop)
 same => n,Dial(PJSIP/132,30)
exten => _*7XXX,1,Set(__DYNAMIC_FEATURES=rec_pause#rec_resume)
 same => n,Dial(PJSIP/${{EXTEN:2}},30)
exten => _*4XXX,1,Set(__DYNAMIC_FEATURES=tell)
 same => n,Dial(PJSIP/${{EXTEN:2}},30)
; the dialplan says by which class it is kept; there is no class of the second name
exten => _*3XXX,1,Gosub(pbxd-record,s,1(,complaint))
 same => n,Gosub(pbxd-record,s,1(,complain))
 same => n,Dial(PJSIP/${{EXTEN:2}},30)
; a card number is keyed, then said to an agent, who says when it is over
exten => _*5XXX,1,Answer()
 same => n,Gosub(pbxd-payment,s,1(begin))
 same => n,Read(CARD,beep,10,,1,10)
 same => n,Set(__DYNAMIC_FEATURES=paid)
 same => n,Dial(PJSIP/${{EXTEN:2}},30)
"""
FEATURES = """
[applicationmap]
rec_start => *5,self,AGI(agi://{address}/record?do=start)
rec_stop => *6,self,AGI(agi://{address}/record?do=stop)
rec_pause => *7,self,AGI(agi://{address}/record?do=pause)
rec_resume => *1,self,AGI(agi://{address}/record?do=resume)
tell => *4,self,AGI(agi://{address}/announce)
paid => *9,self,AGI(agi://{address}/payment?do=end)
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A box that records calls, and a desk without phones. One for all tests of a file."""
    box = Box(reachable(tmp_path_factory.mktemp("office")), say)
    desk = Desk(box.asterisk)
    spool = Path(mkdtemp(prefix="pbxd-lab-", dir="/dev/shm"))  # in memory, as on a box; the lab's Asterisk has our /dev
    office = Office(box, desk, spool / "recordings", RULES)
    try:
        spool.chmod(0o755)
        office.configure()
        endpoint_options(box, OPTIONS)
        announcements(box.asterisk.folder / "sounds")
        for file, text in (("extensions.conf", DIALPLAN), ("features.conf", FEATURES)):
            with (box.asterisk.etc / file).open("a") as conf:
                conf.write(text.format(address=box.asterisk.address))
        box.start()
        yield office
    finally:
        desk.close()
        box.stop()
        shutil.rmtree(spool)
