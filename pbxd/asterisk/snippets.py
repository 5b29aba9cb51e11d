"""The parts of Asterisk's configuration that pbxd needs, as text. Where they go is `install`'s business.

docs/asterisk.md explains each to an admin.
"""

from __future__ import annotations

EVENTS = (  # all of CEL's but DTMF: keyed digits may be a card number or a PIN, and must be in no file
    "CHAN_START", "CHAN_END", "ANSWER", "HANGUP", "BRIDGE_ENTER", "BRIDGE_EXIT", "APP_START", "APP_END", "PARK_START",
    "PARK_END", "BLINDTRANSFER", "ATTENDEDTRANSFER", "PICKUP", "FORWARD", "LINKEDID_END", "LOCAL_OPTIMIZE",
    "LOCAL_OPTIMIZE_BEGIN", "USER_DEFINED", "STREAM_BEGIN", "STREAM_END",
)  # fmt: skip
NEWER_EVENTS = frozenset({"STREAM_BEGIN", "STREAM_END"})  # Asterisk 22; older ones log an error for each and go on

APPS = {  # application -> the rule that needs it
    "dial": "how a call that nobody answered ended",
    "queue": "queue visits",
    "voicemail": "calls that went to voicemail",
}

COLUMNS = (  # in the order of pbxd.calls.cel.COLUMNS
    "eventtype", "eventtime", "CALLERID(name)", "CALLERID(num)", "CALLERID(ANI)", "CALLERID(RDNIS)", "CALLERID(DNID)",
    "CHANNEL(exten)", "CHANNEL(context)", "CHANNEL(channame)", "CHANNEL(appname)", "CHANNEL(appdata)",
    "CHANNEL(amaflags)", "CHANNEL(accountcode)", "CHANNEL(uniqueid)", "CHANNEL(linkedid)", "BRIDGEPEER",
    "CHANNEL(userfield)", "userdeftype", "eventextra",
)  # fmt: skip

# Contacts and FullyBooted; channels, bridges, holds; queues; RTCP; that a key is pressed, which pauses a recording.
READ = ("system", "call", "agent", "reporting", "dtmf")
WRITE = (
    "system",
    # With system: Filter, CoreShowChannels, CoreSettings, PJSIPShowEndpoints, VoicemailUsersList, MixMonitor, StopMixMonitor.
    "reporting",  # Getvar: what goes on in calls that are recorded, after a restart
    "message",  # MessageSend, and nothing else
    "user",  # VoicemailMove, VoicemailRemove, VoicemailForward, VoicemailRefresh; beside them it allows UserEvent only
)  # nothing else that acts on a call


def cel(header: str, *, events: tuple[str, ...] = EVENTS) -> str:
    """For cel.conf, in `[general]`. `header` begins that section, adds to it, or is empty where we are in it already."""
    return f"""{header}enable = yes
; only what a call-record rule needs
apps = {",".join(APPS)}
; each by its name: with ALL, Asterisk 22 writes the digits that callers key
events = {",".join(events)}
"""


def cel_custom(header: str) -> str:
    """For cel_custom.conf, in `[mappings]`: one CSV line an event."""
    fields = ",".join(f"${{CSV_QUOTE(${{{column}}})}}" for column in COLUMNS)
    return f"{header}pbxd.csv => {fields}\n"


def manager(secret: str, *, user: str = "pbxd", permit: str = "127.0.0.1/255.255.255.255") -> str:
    """For manager.conf: pbxd's user, with no more rights than it uses."""
    return f"""[{user}]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = {permit}
read = {",".join(READ)}
write = {",".join(WRITE)}
writetimeout = 1000
"""
