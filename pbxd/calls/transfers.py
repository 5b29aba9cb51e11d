"""Transfers, as their lines tell: who transferred, how, and to which number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pbxd.calls.cel import CelEvent, id_order
from pbxd.calls.channels import Channel
from pbxd.calls.record import Transfer
from pbxd.calls.site import Site


def transfers(events: Iterable[CelEvent], channels: Mapping[str, Channel], site: Site) -> tuple[Transfer, ...]:
    """The transfers of a call, in order of time."""
    found = []
    for event in events:
        if event.type == "BLINDTRANSFER":
            found.append(Transfer(event.at, "blind", event.uniqueid, str(event.details().get("extension", ""))))
        elif event.type == "ATTENDEDTRANSFER":
            found.append(Transfer(event.at, "attended", event.uniqueid, _number(event, channels, site)))
    return tuple(sorted(found, key=lambda transfer: (transfer.at, id_order(transfer.by))))


def _number(event: CelEvent, channels: Mapping[str, Channel], site: Site) -> str:
    """The number that was consulted.

    By feature code the consultation is a Local channel, whose name has the number. By REFER it is a second call of the transferor:
    what was dialled on it, or, if that was an incoming one, the number of the party at its other end.
    """
    details = event.details()
    consultation = channels.get(str(details.get("channel2_uniqueid", "")))
    if consultation is not None and consultation.dialled and consultation.uniqueid != event.uniqueid:
        return consultation.dialled
    target = _target(event, details, channels)
    if target is not None and target.local:
        return target.channel.removeprefix("Local/").partition("@")[0]
    if target is None:
        return str(details.get("app", ""))
    return site.number_of(target.endpoint, target.number)


def _target(event: CelEvent, details: Mapping[str, Any], channels: Mapping[str, Channel]) -> Channel | None:
    """The channel at the far end of the consultation: as named, or, where Asterisk names none, by who was in that bridge."""
    named = channels.get(str(details.get("transfer_target_channel_uniqueid", "")))
    if named is not None:
        return named
    bridge, own = details.get("bridge2_id"), (event.uniqueid, details.get("channel2_uniqueid"))
    for channel in channels.values():
        if channel.uniqueid not in own and any(s.bridge == bridge and s.start <= event.at for s in channel.stays):
            return channel
    return None
