"""A soft phone by PJSIP, the SIP stack of many real phones: a process of its own, told what to do by `lab.desk`.

A command is a line of JSON on standard input, an event a line of JSON on standard output. One process and not a library in
ours: a C library that fails takes nothing with it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import count
from typing import Any

import pjsua2 as pj

POLL = 10  # ms
TONE_HZ = 440
KEY_MS = 100  # that a key's sound lasts, and the silence after it
LINES = 4  # calls that one phone can have at once


def tell(**event: object) -> None:
    """One event for the desk."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Line(pj.Call):  # type: ignore[misc]  # the library has no types
    """One call of one phone."""

    def __init__(self, phone: Account, name: str, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone, call_id)
        self.phone = phone
        self.name = name
        self.tape: pj.AudioMediaRecorder | None = None
        self.keys: pj.ToneGenerator | None = None  # that speaks the tones of keys now
        self.to_press: list[str] = []  # keys that wait for their turn
        self.next_press = 0.0  # monotonic

    def onCallState(self, _prm: object) -> None:  # noqa: N802 - the library's name
        """Tell how far the call is."""
        info = self.getInfo()
        tell(event="state", line=self.name, phone=self.phone.number, state=info.stateText, code=info.lastStatusCode)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.phone.over(self)

    def onCallMediaState(self, _prm: object) -> None:  # noqa: N802
        """Speak a tone into every call that has sound, and tape what is heard."""
        for media in self.sounds():
            self.phone.telephone.tone.startTransmit(media)
            if self.phone.telephone.tapes:
                self.record(media)
            tell(event="media", line=self.name, phone=self.phone.number)

    def sounds(self) -> list[pj.AudioMedia]:
        """The call's sound, if it has any now."""
        info = self.getInfo()  # held by name: its list of media goes when it goes
        return [
            self.getAudioMedia(index)
            for index, media in enumerate(info.media)
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE
        ]

    def record(self, media: pj.AudioMedia) -> None:
        """Write what comes from there to the call's tape."""
        if self.tape is None:
            self.tape = pj.AudioMediaRecorder()
            self.tape.createRecorder(f"{self.phone.telephone.tapes}/{self.name}.wav")
        media.startTransmit(self.tape)

    def press(self) -> None:
        """Press the next key when it is time: with nothing between keys Asterisk misses some of them while two talk."""
        if self.to_press and time.monotonic() >= self.next_press:
            self.next_press = time.monotonic() + 2 * KEY_MS / 1000
            prm = pj.CallSendDtmfParam()
            prm.method, prm.duration, prm.digits = pj.PJSUA_DTMF_METHOD_RFC2833, KEY_MS, self.to_press.pop(0)
            self.sendDtmf(prm)

    def speak_keys(self, digits: str) -> None:
        """Press keys that are heard (ITU-T Q.23); nobody speaks meanwhile."""
        self.keys = pj.ToneGenerator()
        self.keys.createToneGenerator(8000, 1)
        tones = pj.ToneDigitVector()
        for digit in digits:
            tone = pj.ToneDigit()
            tone.digit, tone.on_msec, tone.off_msec, tone.volume = digit, KEY_MS, KEY_MS, 0
            tones.append(tone)
        for media in self.sounds():
            self.phone.telephone.tone.stopTransmit(media)
            self.keys.startTransmit(media)
        self.keys.playDigits(tones)

    def speak_again(self) -> None:
        """The tone again, when the keys have been spoken."""
        if self.keys is not None and not self.keys.isBusy():
            self.keys = None
            for media in self.sounds():
                self.phone.telephone.tone.startTransmit(media)

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802, ANN401
        """Tell how a transfer that this phone asked for went."""
        tell(event="transfer", line=self.name, phone=self.phone.number, code=prm.statusCode, final=prm.finalNotify)


class Account(pj.Account):  # type: ignore[misc]
    """The phone's account at Asterisk, which knows its address, or is told it by `register`."""

    def __init__(self, telephone: Telephone, number: str, address: str) -> None:
        super().__init__()
        self.telephone = telephone
        self.number = number
        config = pj.AccountConfig()
        config.idUri = f'"Phone {number}" <sip:{number}@{telephone.registrar}>'
        config.sipConfig.transportId = telephone.listen(address)
        config.mediaConfig.transportConfig.boundAddress = address
        config.mediaConfig.transportConfig.port = 20000
        config.mediaConfig.transportConfig.portRange = 4 * LINES
        config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
        self.config = config
        self.create(config)

    def onMwiInfo(self, prm: Any) -> None:  # noqa: N802, ANN401
        """What the phone's message lamp is told (RFC 3842): whether it is lit, how many voice messages are new and old."""
        body = prm.rdata.wholeMsg.replace("\r\n", "\n").partition("\n\n")[2]
        fields = dict(line.split(":", 1) for line in body.splitlines() if ":" in line)
        counts = fields.get("Voice-Message", "").partition("(")[0].strip() or "0/0"
        new, _, old = counts.partition("/")
        tell(
            event="lamp", phone=self.number, lit=fields.get("Messages-Waiting", "").strip(), new=int(new), old=int(old)
        )

    def onRegState(self, prm: Any) -> None:  # noqa: N802, ANN401
        """Tell whether Asterisk knows where this phone is."""
        tell(event="registration", phone=self.number, code=prm.code, seconds=prm.expiration)

    def onInstantMessage(self, prm: Any) -> None:  # noqa: N802, ANN401
        """A SIP MESSAGE (RFC 3428) for this phone, as it is shown on its display."""
        tell(event="message", phone=self.number, sender=prm.fromUri, text=prm.msgBody)

    def onInstantMessageStatus(self, prm: Any) -> None:  # noqa: N802, ANN401
        """What became of a message that this phone sent, as Asterisk says at once."""
        tell(event="sent", phone=self.number, to=prm.toUri, text=prm.msgBody, code=prm.code)

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802, ANN401
        """A call for this phone: the desk says what becomes of it."""
        line = Line(self, f"{self.number}:in{next(self.telephone.numbers)}", prm.callId)
        self.telephone.lines[line.name] = line
        tell(event="incoming", line=line.name, phone=self.number, sender=line.getInfo().remoteUri)

    def over(self, line: Line) -> None:
        """The call has ended; the object goes when the library is out of its callback."""
        self.telephone.ended.append(line)
        self.telephone.lines.pop(line.name, None)


class Telephone:
    """The phone, and the library under it."""

    def __init__(self, registrar: str, number: str, address: str, tone: str = str(TONE_HZ), tapes: str = "") -> None:
        self.registrar = registrar
        self.tapes = tapes  # folder for a file of what is heard in each call; empty: none is made
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.maxCalls = LINES
        config.logConfig.level = config.logConfig.consoleLevel = 0
        config.medConfig.noVad = True
        self.endpoint.libInit(config)
        self.endpoint.audDevManager().setNullDev()
        self.endpoint.libStart()
        for codec in self.endpoint.codecEnum2():
            self.endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMA/") else 0)
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator(8000, 1)
        sound = pj.ToneDesc()
        sound.freq1, sound.freq2, sound.on_msec, sound.off_msec = int(tone), 0, 1000, 0
        self.tone.play(pj.ToneDescVector([sound]), True)
        self.numbers = count(1)
        self.lines: dict[str, Line] = {}
        self.ended: list[Line] = []
        self.contacts: dict[str, pj.Buddy] = {}  # those whom this phone has written to
        self.account = Account(self, number, address)

    def listen(self, address: str) -> int:
        """A UDP transport at `address`:5060; its number."""
        config = pj.TransportConfig()
        config.port = 5060
        config.boundAddress = address
        return int(self.endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, config))

    def obey(self, order: dict[str, Any]) -> None:
        """Carry out one command; a fault is told, not raised."""
        what = order.pop("do")
        line = order.get("line", "")
        if line and what != "call" and line not in self.lines:  # it ended meanwhile: picked up elsewhere
            tell(event="fault", what=what, line=line, why="the call is over")
            return
        try:
            getattr(self, "do_" + what)(**order)
        except pj.Error as error:
            tell(event="fault", what=what, line=line, why=error.reason)

    def do_call(self, to: str, line: str) -> None:
        """Call `to`; the call is known as `line`."""
        made = self.lines[line] = Line(self.account, line)
        made.makeCall(f"sip:{to}@{self.registrar}", pj.CallOpParam(True))

    def do_answer(self, line: str, code: int, contact: str = "") -> None:
        """Give an incoming call its status: 180, 200, 486, 302 with a contact."""
        prm = pj.CallOpParam()
        prm.statusCode = code
        if contact:
            header = pj.SipHeader()
            header.hName, header.hValue = "Contact", f"<sip:{contact}@{self.registrar}>"
            prm.txOption.headers = pj.SipHeaderVector([header])
        self.lines[line].answer(prm)

    def do_hangup(self, line: str) -> None:
        """Hang up, or cancel, or refuse."""
        self.lines[line].hangup(pj.CallOpParam())

    def do_hold(self, line: str) -> None:
        """Hold, by re-INVITE with sendonly."""
        self.lines[line].setHold(pj.CallOpParam())

    def do_resume(self, line: str) -> None:
        """Take a held call back."""
        prm = pj.CallOpParam(True)
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.lines[line].reinvite(prm)

    def do_key(self, line: str, digits: str, how: str = "rfc4733") -> None:
        """Press keys, told by RFC 4733, by SIP INFO (`info`), or by their sound (`inband`)."""
        if how == "inband":
            self.lines[line].speak_keys(digits)
        elif how == "info":
            prm = pj.CallSendDtmfParam()
            prm.method, prm.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, digits
            self.lines[line].sendDtmf(prm)
        else:
            self.lines[line].to_press += digits

    def do_refer(self, line: str, to: str) -> None:
        """Transfer blindly (RFC 3515)."""
        self.lines[line].xfer(f"<sip:{to}@{self.registrar}>", pj.CallOpParam(True))

    def do_replace(self, line: str, other: str) -> None:
        """Transfer `line` to the far end of `other` (RFC 3891), answered or still ringing."""
        self.lines[line].xferReplaces(self.lines[other], pj.CallOpParam(True))

    def do_register(self) -> None:
        """Tell Asterisk where this phone is (RFC 3261 §10)."""
        place = f"sip:{self.registrar}"
        if self.account.config.regConfig.registrarUri == place:
            self.account.setRegistration(True)
        else:
            self.account.config.regConfig.registrarUri = place
            self.account.modify(self.account.config)  # which registers

    def do_unregister(self) -> None:
        """Be nowhere."""
        self.account.setRegistration(False)

    def do_message(self, to: str, text: str) -> None:
        """Send a SIP MESSAGE."""
        if to not in self.contacts:
            config = pj.BuddyConfig()
            config.uri = f"sip:{to}@{self.registrar}"
            self.contacts[to] = pj.Buddy()
            self.contacts[to].create(self.account, config)
        message = pj.SendInstantMessageParam()
        message.content = text
        self.contacts[to].sendInstantMessage(message)

    def forget_ended(self) -> None:
        """Let go of calls that are over: that closes their tapes."""
        for line in self.ended:
            if line.tape is not None:
                line.tape = None
                tell(event="taped", line=line.name, phone=self.account.number)
        self.ended.clear()

    def run(self) -> None:
        """Until standard input ends."""
        os.set_blocking(sys.stdin.fileno(), False)
        rest = b""
        while True:
            self.endpoint.libHandleEvents(POLL)
            self.forget_ended()
            for call in self.lines.values():
                call.speak_again()
                call.press()
            try:
                data = os.read(sys.stdin.fileno(), 65536)
            except BlockingIOError:
                continue
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.obey(json.loads(line))


if __name__ == "__main__":
    telephone = Telephone(*sys.argv[1:])
    tell(event="ready", phone=sys.argv[2])
    telephone.run()
    sys.stdout.flush()
    os._exit(0)  # the calls are over for the test; the library's own end waits for each of them
