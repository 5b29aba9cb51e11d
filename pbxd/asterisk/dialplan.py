"""The dialplan that `pbxd asterisk-config` writes: a subroutine for each FastAGI application.

Each subroutine returns to who called it, whatever has become of pbxd: AGI() goes on when nobody answers, and the variables
that the caller looks at are set to their answer for that case before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT = "127.0.0.1:4573"
HEAD = """; Subroutines for pbxd's FastAGI applications: Gosub(pbxd-NAME,s,1(…)). docs/dialplan.md has an example for each.
; PBXD_STATUS says how it went: OK, NOROUTE, ERROR, TIMEOUT, BUSY, HANGUP, STOPPED; NOSERVER if pbxd was not there.
"""


@dataclass(frozen=True, slots=True)
class Subroutine:
    """One context `pbxd-NAME`. `query` may use ARG1, ARG2; `preset` is what the caller sees if pbxd does not answer."""

    name: str
    what: str
    query: str = ""
    arguments: str = ""  # behind the first comma of AGI()
    preset: Mapping[str, str] = field(default_factory=dict)
    then: tuple[str, ...] = ()  # applications after it, whatever has become of pbxd

    def text(self, address: str) -> str:
        """The context, as extensions.conf has it."""
        presets = {"PBXD_STATUS": "NOSERVER", **self.preset}
        route = "${ARG1}" if self.name == "script" else self.name
        lines = [f"; {self.what}", f"[pbxd-{self.name}]"]
        for number, (name, value) in enumerate(presets.items()):
            lines.append(f"{'exten => s,1' if number == 0 else ' same => n'},Set({name}={value})")
        lines.append(f" same => n,AGI(agi://{address}/{route}{self.query}{self.arguments})")
        lines += [f" same => n,{application}" for application in (*self.then, "Return()")]
        return "\n".join(lines) + "\n"


SUBROUTINES = (
    Subroutine(
        "lookup",
        "Gosub(pbxd-lookup,s,1): name of the caller, PBXD_LIST is allowed, blocked or none",
        preset={"PBXD_LIST": "none", "PBXD_NAME": "", "PBXD_NUMBER": "${CALLERID(num)}"},
    ),
    Subroutine(
        "route",
        "Gosub(pbxd-route,s,1(HOURS)): PBXD_ROUTE is open, closed or holiday; open if pbxd is not there",
        "?hours=${ARG1}",
        preset={"PBXD_ROUTE": "open", "PBXD_HOLIDAY": ""},
    ),
    Subroutine(
        "agent",
        "Gosub(pbxd-agent,s,1(login|logout|pause|unpause[,AGENT])): asks for the PIN; PBXD_AGENT_STATE says what came of it",
        "?do=${ARG1}&agent=${ARG2}",
        preset={"PBXD_AGENT": "", "PBXD_AGENT_STATE": "refused"},
    ),
    Subroutine(
        "greeting",
        "Gosub(pbxd-greeting,s,1(MAILBOX@CONTEXT)): voicemail greetings by phone",
        "?mailbox=${ARG1}",
        preset={"PBXD_GREETING": ""},
    ),
    Subroutine(
        "directory",
        "Gosub(pbxd-directory,s,1): dial by name; PBXD_EXTENSION is who was chosen",
        preset={"PBXD_EXTENSION": ""},
    ),
    Subroutine(
        "announce",
        "Gosub(pbxd-announce,s,1[(SOUND)]): says that the call is recorded; PBXD_ANNOUNCED is yes or no",
        "?sound=${ARG1}",
        preset={"PBXD_ANNOUNCED": "no"},
    ),
    Subroutine(
        "record",
        "Gosub(pbxd-record,s,1(start|stop|pause|resume|[,CLASS])): PBXD_RECORDING says what was done, PBXD_CLASS how it is kept",
        "?do=${ARG1}&class=${ARG2}",
        preset={"PBXD_RECORDING": "none"},
    ),
    Subroutine(
        "chat",
        "Gosub(pbxd-chat,s,1(${EXTEN})): keeps a SIP MESSAGE; PBXD_CHAT_ANSWER is what to answer its sender, empty if it is kept",
        "?to=${URIENCODE(${ARG1})}",
        preset={"PBXD_CHAT_ANSWER": "Not sent: the phone system cannot keep messages now"},
    ),
    Subroutine(
        "payment",
        "Gosub(pbxd-payment,s,1(begin|end)): nothing is kept meanwhile; PBXD_PAYMENT says what was done",
        "?do=${ARG1}",
        preset={"PBXD_PAYMENT": "none"},
        # Without pbxd Asterisk would go on recording what is said. What it records of this channel ends here, whoever asked for it.
        then=('ExecIf($["${ARG1}" = "begin" & "${PBXD_STATUS}" != "OK"]?StopMixMonitor())',),
    ),
    Subroutine(
        "script",
        "Gosub(pbxd-script,s,1(NAME[,ARGUMENT,ARGUMENT])): a program of /etc/pbxd/agi.d",
        arguments=",${ARG2},${ARG3}",
    ),
)


# For `message_context = pbxd-message` of endpoints: all that phones write to, and the answer where it was not kept. The channel is
# Asterisk's own for messages; single letters are left out, for h, i, t and s mean something else in a context.
MESSAGES = """; message_context = pbxd-message of an endpoint in pjsip.conf: its SIP MESSAGEs go into the chats
[pbxd-message]
exten => _[A-Za-z0-9*#+].,1,Gosub(pbxd-chat,s,1(${EXTEN}))
 same => n,GotoIf($[${LEN(${PBXD_CHAT_ANSWER})} = 0]?done)
 same => n,Set(PBXD_FROM=${MESSAGE(from)})
 same => n,Set(PBXD_FROM=${CUT(CUT(PBXD_FROM,@,1),:,2)})
 same => n,Set(MESSAGE(body)=${PBXD_CHAT_ANSWER})
 same => n,MessageSend(pjsip:${FILTER(A-Za-z0-9_.\\-,${PBXD_FROM})},${FILTER(A-Za-z0-9*#+_.\\-,${EXTEN})})
 same => n(done),NoOp()
"""


def dialplan(address: str = DEFAULT) -> str:
    """For extensions.conf: every subroutine, for a FastAGI server at `address` (host:port)."""
    return HEAD + "\n" + "\n".join([*(subroutine.text(address) for subroutine in SUBROUTINES), MESSAGES])
