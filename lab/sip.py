"""What a phone does in a call: a list of steps, written out as a SIPp scenario.

A phone is the caller (it sends the INVITE) or the called one; inside the dialog the two write From and To differently,
which `_dialog_headers` knows. Source: SIPp reference documentation, "Create your own XML scenarios".
"""

from __future__ import annotations

from typing import Self

VIA = "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]"
SDP = """v=0
o=lab 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000"""
BODY = f"Content-Type: application/sdp\nContent-Length: [len]\n\n{SDP}"
NO_BODY = "Content-Length: 0"
REPLY = "[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]T[call_number]\n[last_Call-ID:]\n[last_CSeq:]"
SAME = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]"


class Phone:
    """One phone in one call. Each method adds a step and gives the phone back, so that a call reads as a sentence."""

    def __init__(self, number: str, name: str, *, calls: bool) -> None:
        self.number = number
        self.name = name
        self.calls = calls
        self.steps: list[str] = []

    def xml(self) -> str:
        """The whole SIPp scenario."""
        return f'<?xml version="1.0"?>\n<scenario name="{self.number}">\n{"".join(self.steps)}</scenario>\n'

    def wait(self, milliseconds: int) -> Self:
        """Let time pass."""
        return self.add(f'<pause milliseconds="{milliseconds}"/>')

    def speak(self, audio: str) -> Self:
        """Send the A-law file `audio` as RTP, over and over, until the call ends."""
        return self.add(f'<nop><action><exec rtp_stream="{audio},-1,8"/></action></nop>')

    def bye(self) -> Self:
        """Hang up, and take the other's 200."""
        return self.send(self._request("BYE"), again=True).expect_response(200)

    def expect_bye(self) -> Self:
        """Wait until the other end hangs up, and confirm it."""
        return self.expect_request("BYE").send(f"SIP/2.0 200 OK\n{SAME}\n{NO_BODY}")

    def end_within(self, milliseconds: int) -> Self:
        """Talk until the other end hangs up, or hang up after `milliseconds`."""
        labels = sum("<label" in step for step in self.steps)
        theirs, end = labels + 1, labels + 2
        self.add(f'<recv request="BYE" timeout="{milliseconds}" ontimeout="{theirs}"/>')
        self.send(f"SIP/2.0 200 OK\n{SAME}\n{NO_BODY}")
        self.add(f'<nop next="{end}"/>').add(f'<label id="{theirs}"/>')
        return self.bye().add(f'<label id="{end}"/>')

    def refer(self, number: str) -> Self:
        """Transfer the other end to `number`, blindly (RFC 3515; SIPp itself confirms the NOTIFYs that follow)."""
        extra = f"Contact: <sip:{self.number}@[local_ip]:[local_port]>\nRefer-To: <sip:{number}@[local_ip]>"
        return self.send(self._request("REFER", extra), again=True).expect_response(202)

    def _request(self, method: str, extra: str = "") -> str:
        lines = [f"{method} [next_url] SIP/2.0", VIA, self._dialog_headers(), "Call-ID: [call_id]"]
        lines += [f"CSeq: [cseq] {method}", "Max-Forwards: 70", *([extra] if extra else []), NO_BODY]
        return "\n".join(lines)

    def _dialog_headers(self) -> str:
        if self.calls:
            us = f'From: "{self.name}" <sip:{self.number}@[local_ip]>;tag=[pid]T[call_number]'
            return f"{us}\nTo: <sip:[service]@[remote_ip]>[peer_tag_param]"
        return "From:[$us];tag=[pid]T[call_number]\nTo:[$them]"

    def send(self, message: str, *, again: bool = False) -> Self:
        attributes = ' retrans="500"' if again else ""
        return self.add(f"<send{attributes}><![CDATA[\n{message}\n\n]]></send>")

    def expect_response(self, code: int, *, optional: bool = False, attributes: str = "") -> Self:
        maybe = ' optional="true"' if optional else ""
        return self.add(f'<recv response="{code}"{maybe}{attributes}/>')

    def expect_request(self, method: str) -> Self:
        return self.add(f'<recv request="{method}"/>')

    def add(self, step: str) -> Self:
        self.steps.append(step + "\n")
        return self


class Caller(Phone):
    """A phone that calls. It is made with the INVITE already sent."""

    def __init__(self, number: str, name: str = "") -> None:
        super().__init__(number, name or f"Phone {number}", calls=True)
        start = [self._to_service("INVITE", "[branch]"), "CSeq: 1 INVITE"]
        self.send("\n".join([*start, f"Contact: <sip:{number}@[local_ip]:[local_port]>", BODY]), again=True)
        self.expect_response(100, optional=True)

    def ringing(self) -> Self:
        """Wait for the first 180."""
        return self.expect_response(180)

    def answered(self) -> Self:
        """Take the 200, after any ringing, and confirm it."""
        self._ignore_ringing().expect_response(200, attributes=' rrs="true"')
        return self.send(self._request("ACK").replace("CSeq: [cseq]", "CSeq: 1"))

    def refused(self, code: int) -> Self:
        """Take the final answer `code` (300 to 699), after any ringing, and confirm it."""
        self._ignore_ringing().expect_response(code)
        return self.send("\n".join([self._to_service("ACK", self._invite_branch()), "CSeq: 1 ACK", NO_BODY]))

    def cancel(self) -> Self:
        """Give up while it rings (RFC 3261 §9.1)."""
        self.send("\n".join([self._to_service("CANCEL", self._invite_branch(), tag=""), "CSeq: 1 CANCEL", NO_BODY]))
        return self.expect_response(200).refused(487)

    def _ignore_ringing(self) -> Self:
        for code in (180, 183, 181):
            self.expect_response(code, optional=True)
        return self

    def _invite_branch(self) -> str:
        """The branch of the INVITE, which was step 0 (RFC 3261 §17.1.1.3: CANCEL and a refusal's ACK carry the same)."""
        return f"[branch-{len(self.steps)}]"

    def _to_service(self, method: str, branch: str, tag: str | None = None) -> str:
        if tag is None:
            tag = "" if method == "INVITE" else "[peer_tag_param]"
        lines = [f"{method} sip:[service]@[remote_ip]:[remote_port] SIP/2.0", VIA.replace("[branch]", branch)]
        lines += [
            self._dialog_headers().replace("[peer_tag_param]", tag),
            "Call-ID: [call_id]",
            "Max-Forwards: 70",
        ]
        return "\n".join(lines)


class Called(Phone):
    """A phone that is called. It is made with the INVITE already taken."""

    def __init__(self, number: str) -> None:
        super().__init__(number, "", calls=False)
        keep = (("To:", ".*", "us"), ("From:", ".*", "them"), ("CSeq:", "[0-9]+", "invite"))
        actions = "".join(
            f'<ereg regexp="{pattern}" search_in="hdr" header="{header}" assign_to="{name}"/>'
            for header, pattern, name in keep
        )
        used = '<nop><action><log message="[$us] [$them] [$invite]"/></action></nop>'  # SIPp refuses unused variables
        self.add(f'<recv request="INVITE" rrs="true"><action>{actions}</action></recv>{used}')

    def ring(self) -> Self:
        """Say that it rings."""
        return self.send(f"SIP/2.0 180 Ringing\n{REPLY}\n{self._contact()}\n{NO_BODY}")

    def answer(self) -> Self:
        """Pick up."""
        self.send(f"SIP/2.0 200 OK\n{REPLY}\n{self._contact()}\n{BODY}", again=True)
        return self.expect_request("ACK")

    def reject(self, code: int, reason: str) -> Self:
        """Refuse the call with a final answer (486 busy, 603 declined, 503 congestion)."""
        return self.send(f"SIP/2.0 {code} {reason}\n{REPLY}\n{NO_BODY}", again=True).expect_request("ACK")

    def expect_cancel(self) -> Self:
        """Ring on until the other end gives up, and confirm that."""
        self.expect_request("CANCEL").send(f"SIP/2.0 200 OK\n{REPLY}\n{NO_BODY}")
        ended = REPLY.replace("[last_CSeq:]", "CSeq: [$invite] INVITE")
        return self.send(f"SIP/2.0 487 Request Terminated\n{ended}\n{NO_BODY}", again=True).expect_request("ACK")

    def _contact(self) -> str:
        return f"Contact: <sip:{self.number}@[local_ip]:[local_port]>"
