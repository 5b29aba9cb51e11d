"""Every error that pbxd raises on purpose, in one tree.

PbxdError
├── ConfigError            the configuration has mistakes; all of them, each with its place
├── ActionError            our own mistake: an AMI action that must not be sent (a line break in a value)
├── WireError              a peer's mistake: it broke the framing of AMI
│   └── MessageTooLarge    a message passed the limit before its end came
├── AmiError               the AMI session
│   ├── ConnectFailed      nobody listens, or the greeting is not Asterisk's
│   ├── LoginRefused       the credentials or the permissions are wrong: waiting will not mend it
│   ├── Disconnected       the connection ended while the action was pending; it is not sent again
│   ├── ActionTimeout      no answer in time
│   └── ActionFailed       Asterisk answered `Response: Error`
├── JournalError           a journal file cannot be opened or read
│   └── LineError          one line of it cannot be understood (kept and counted, never fatal)
├── SourceError            a history to import cannot be read: no such file, table, column or driver
├── OutOfStep              a batch of an import does not follow what is committed
├── StoreError             the statistics store
│   ├── StoreBusy          another process is its writer
│   └── StoreFull          the disk is full: what is pending stays in the journal
├── CommsError             the store of communications
│   ├── CommsBusy          another process is its writer
│   ├── CommsFull          the disk is full: what is new waits where it is
│   ├── StoreKeyError      the store's key is absent, unreadable, or of another store
│   ├── ObjectGone         there is no such object, or it was destroyed
│   ├── ObjectDamaged      an object does not decrypt, or is not what its row says
│   ├── AccessRefused      this person may not do that
│   ├── StillKept          it may not be deleted yet: a legal hold, or the shortest time that it is kept
│   └── ChatRefused        a message cannot be taken: empty, too long, to nobody
├── RecordingError         a call cannot be recorded, paused or resumed
│   └── RecordingDamaged   the pieces of a recording are no sound, or do not fit together
├── SpoolError             a voicemail file cannot be understood, found, read or written
├── VoicemailRefused       Asterisk did not carry out what was asked of a mailbox
├── SnippetError           Asterisk's configuration folder cannot take what we would add
├── ReportError            a report cannot be made, read, drawn or written
├── MailError              a mail was not taken
│   ├── MailDeferred       nobody answers, or the server says later: to be tried again
│   └── MailRefused        the server says never: a wrong password, a recipient that it does not know
├── CommandError           our own mistake: an AGI command that must not be sent (a line break, too long)
├── AGIException           a FastAGI session; the names below it are pyst2's
│   └── AGIError
│       ├── AGIUnknownError    Asterisk, or who says to be it, broke the protocol
│       ├── AGIUsageError      520: the command's arguments are wrong
│       ├── AGIInvalidCommand  510: Asterisk has no such command
│       ├── AGITimeout         no answer in time
│       ├── AGIBusy            too many scripts run already
│       ├── AGIStopped         pbxd stops
│       └── AGIAppError        an application or command failed on the channel
│           ├── AGIDBError     the key is not in Asterisk's database, or cannot be put there
│           └── AGIHangup      the channel is gone
│               ├── AGISIGHUPHangup   the HANGUP line came
│               ├── AGISIGPIPEHangup  the connection ended without it
│               └── AGIResultHangup   the result of a command says it
├── UplinkError            the link to the vendor
│   ├── FrameError         a peer's mistake: bytes, a frame, a field or a message that the protocol does not have
│   ├── NoteError          a signed note cannot be read, or its signature does not hold
│   ├── ProofError         a Merkle proof does not lead where it should
│   ├── GateRefused        our own mistake: what was to leave is not of the form that may leave
│   ├── LedgerError        the ledger of what left cannot be read or written: then nothing leaves
│   │   ├── LedgerFull     the disk is full
│   │   └── LedgerBroken   it was changed: a line is not what the checkpoints say
│   ├── SupportError       a support ticket or session is refused or cannot be
│   │   └── RecordingStopped   a session's recording cannot be written: the session is refused or ended
│   ├── ProposalError      a proposed change is not there, or cannot be answered so
│   ├── MessageRefused     a message from the vendor is not one of this box, now; `word` is why
│   ├── HubAway            nobody answers, or the connection ended: to be tried again
│   ├── HubRefused         the hub does not take our sign-in, enrolment or words; `why` is its word
│   └── HubUntrusted       who answers is not the hub whose key is pinned
├── HubError               the vendor's hub: a key, a box, a person or a message that is not as it has to be
└── ControlError           the control socket: absent, refused, or an answer that is an error
    └── ControlRefused     pbxd answers, and this user may not do that
"""

from __future__ import annotations


class PbxdError(Exception):
    """Root of all errors that pbxd raises on purpose."""


class ConfigError(PbxdError):
    """The configuration has mistakes; `problems` holds one line each, as `file:line: what, and what was meant`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ActionError(PbxdError):
    """An AMI action that must not be sent: it would inject a second one, or cannot be encoded."""


class WireError(PbxdError):
    """The peer broke the framing of AMI."""


class MessageTooLarge(WireError):
    """A message passed the limit on its size before its end came."""


class AmiError(PbxdError):
    """The AMI session failed."""


class ConnectFailed(AmiError):
    """Nobody listens there, TLS failed, or the greeting is not Asterisk's."""


class LoginRefused(AmiError):
    """Asterisk refused the user or the secret. Only a person can mend that."""


class Disconnected(AmiError):
    """The connection ended while the action was pending. Whether it was carried out is unknown; it is not sent again."""


class ActionTimeout(AmiError):
    """Asterisk did not answer the action in time."""


class ActionFailed(AmiError):
    """Asterisk answered `Response: Error`; the message is Asterisk's own."""


class JournalError(PbxdError):
    """A journal file cannot be opened or read."""


class LineError(JournalError):
    """One journal line cannot be understood. It is kept and counted; reading goes on."""


class SourceError(PbxdError):
    """A history to import cannot be read; the message says what to do."""


class OutOfStep(PbxdError):
    """A batch of an import does not follow what is committed; `position` is where the next one has to begin."""

    def __init__(self, position: str) -> None:
        super().__init__(
            f"the import stands at {position or 'its beginning'}: another one of the same source is running"
        )
        self.position = position


class StoreError(PbxdError):
    """The statistics store failed."""


class StoreBusy(StoreError):
    """Another process is the store's writer."""


class StoreFull(StoreError):
    """The disk is full. Nothing committed is lost; what is pending stays in the journal."""


class CommsError(PbxdError):
    """The store of communications failed."""


class CommsBusy(CommsError):
    """Another process is the store's writer."""


class CommsFull(CommsError):
    """The disk is full. Nothing committed is lost; what is new waits where it is."""


class StoreKeyError(CommsError):
    """The store's key is absent, unreadable, or the key of another store. Only a person can mend that."""


class ObjectGone(CommsError):
    """There is no such object in the vault, or its key was destroyed."""


class ObjectDamaged(CommsError):
    """An object does not decrypt, or is not what its row says."""


class AccessRefused(CommsError):
    """This person may not do that; the message says why, and the refusal is in the audit log."""


class StillKept(CommsError):
    """It may not be deleted yet: a legal hold, or the shortest time that it is kept."""


class ChatRefused(CommsError):
    """A message cannot be taken as it is: it is empty, too long, or there is nobody whom it could go to."""


class RecordingError(PbxdError):
    """A call cannot be recorded, paused or resumed; the message says why."""


class RecordingDamaged(RecordingError):
    """The pieces of a recording are no sound, or do not fit together. They are kept as they are."""


class SpoolError(PbxdError):
    """A file of the voicemail spool cannot be understood, found, read or written."""


class VoicemailRefused(PbxdError):
    """Asterisk did not carry out what was asked of a mailbox; the message says what and, as far as it can be told, why."""


class SnippetError(PbxdError):
    """Asterisk's configuration folder cannot take what we would add."""


class ReportError(PbxdError):
    """A report cannot be read, drawn or written."""


class MailError(PbxdError):
    """A mail was not taken by the server."""


class MailDeferred(MailError):
    """The mail server is away, too slow, or says to come back later. To be tried again."""


class MailRefused(MailError):
    """The mail server refused us, the mail or all its recipients. Only a person can mend that."""


class CommandError(PbxdError):
    """An AGI command that must not be sent: it would inject a second one, is too long, or names no variable."""


class AGIException(PbxdError):
    """A FastAGI session failed."""


class AGIError(AGIException):
    """A command of a FastAGI session failed."""


class AGIUnknownError(AGIError):
    """The peer broke the protocol, or passed a limit of it."""


class AGIUsageError(AGIError):
    """Asterisk does not take the command's arguments (520); the message is its usage."""


class AGIInvalidCommand(AGIError):
    """Asterisk has no such command (510)."""


class AGITimeout(AGIError):
    """Asterisk did not answer in time, or the session took longer than it may."""


class AGIBusy(AGIError):
    """As many scripts run as may."""


class AGIStopped(AGIError):
    """pbxd stops, and the session has had its time to end."""


class AGIAppError(AGIError):
    """An application or a command failed on the channel, or there is no such application."""


class AGIDBError(AGIAppError):
    """The key is not in Asterisk's database, or cannot be put there."""


class AGIHangup(AGIAppError):
    """The channel is gone, and the command needs one that lives (511)."""


class AGISIGHUPHangup(AGIHangup):
    """Asterisk said HANGUP."""


class AGISIGPIPEHangup(AGIHangup):
    """Asterisk closed the connection."""


class AGIResultHangup(AGIHangup):
    """The result of a command says that the caller hung up during it."""


class UplinkError(PbxdError):
    """The link to the vendor."""


class FrameError(UplinkError):
    """The peer said what the protocol does not have; the message says what."""


class NoteError(UplinkError):
    """A signed note cannot be read, or no key that is known signed it."""


class ProofError(UplinkError):
    """A Merkle proof does not lead where it should."""


class GateRefused(UplinkError):
    """What was to leave the box is not of the form that may leave: a mistake of ours. Nothing of it was queued."""


class LedgerError(UplinkError):
    """The ledger cannot be read or written. Then nothing leaves."""


class LedgerFull(LedgerError):
    """The disk has no room for an entry. Then nothing leaves; calls go on."""


class LedgerBroken(LedgerError):
    """A line of the ledger, or its order, is not what was signed."""


class SupportError(UplinkError):
    """A support ticket or session is refused or cannot be; the message says why."""


class RecordingStopped(SupportError):
    """The recording of a session cannot be written. Then nothing is shown, and the session is refused or ended."""


class ProposalError(UplinkError):
    """A proposed change of the configuration is not there, or cannot be answered so; the message says why."""


class MessageRefused(UplinkError):
    """A message from the vendor is not acted on. `word` says why in one word, the message in a sentence."""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(detail)
        self.word = word


class HubAway(UplinkError):
    """The hub does not answer, or the connection ended. To be tried again."""


class HubRefused(UplinkError):
    """The hub does not take our sign-in, enrolment or words. `why` is its word for it."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why


class HubUntrusted(UplinkError):
    """Who answers does not have the key that is pinned. Nothing was said to it."""


class HubError(PbxdError):
    """What the hub was asked cannot be done; the message says why, and what to do."""


class ControlError(PbxdError):
    """The control socket is absent, refuses us, or answered with an error."""


class ControlRefused(ControlError):
    """pbxd answers, and this user may not do that; the message says why."""
