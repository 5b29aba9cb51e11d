"""The AMI events that pbxd uses. Nothing else is sent to it: above all no DTMF, which may be a card number or a PIN."""

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
ENDPOINTS = ("ContactStatus", "PeerStatus")
SYSTEM = ("FullyBooted", "Shutdown")

LIVE = (*CHANNELS, *BRIDGES, *QUEUES, *ENDPOINTS)
USED = frozenset((*LIVE, *SYSTEM))
