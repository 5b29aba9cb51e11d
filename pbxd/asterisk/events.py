"""The AMI events that pbxd uses. Nothing else is sent to it.

DTMF is asked for only where recordings pause by themselves while keys are pressed. Which key it was is never read: it may be part
of a card number or a PIN.
"""

from __future__ import annotations

from collections.abc import Iterable

CHANNELS = ("Newchannel", "Newstate", "Rename", "Hangup", "Hold", "Unhold")
BRIDGES = ("BridgeEnter", "BridgeLeave")
QUEUES = (
    "QueueCallerJoin",
    "QueueCallerLeave",
    "QueueMemberAdded",
    "QueueMemberRemoved",
    "QueueMemberPause",
    "QueueMemberStatus",
)
ENDPOINTS = (
    "PeerStatus",
)  # an endpoint as a whole; ContactStatus tells of each of its phones, and one of two may be gone
CONTACTS = ("ContactStatus",)  # asked for only where there are chats: a phone that registers gets what was kept for it
VOICE = ("RTCPSent", "RTCPReceived")
KEYS = ("DTMFBegin", "DTMFEnd")
SYSTEM = ("FullyBooted", "Shutdown")

LIVE = (*CHANNELS, *BRIDGES, *QUEUES, *ENDPOINTS)
USED = frozenset((*LIVE, *VOICE, *SYSTEM))

# Asterisk's class of each event (manager.conf, `read=`), which the login asks for: the others are not even put together for us.
CLASSES = {
    **dict.fromkeys((*CHANNELS, *BRIDGES), "call"),
    **dict.fromkeys(QUEUES, "agent"),
    **dict.fromkeys((*ENDPOINTS, *CONTACTS, *SYSTEM), "system"),
    **dict.fromkeys(VOICE, "reporting"),
    **dict.fromkeys(KEYS, "dtmf"),
    "CEL": "cel",
}
NOT_DTMF = "system,call,agent,user,cel,cdr,dialplan,reporting,security,message"


def event_mask(names: Iterable[str]) -> str:
    """The classes to ask for so that all of `names` come, and never the one of keyed digits. `system` brings FullyBooted."""
    classes = {CLASSES.get(name, NOT_DTMF) for name in names} | {"system"}
    return NOT_DTMF if NOT_DTMF in classes else ",".join(sorted(classes))
