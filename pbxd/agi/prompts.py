"""Sounds of Asterisk's own set, and asking for digits. Keyed digits are kept nowhere."""

from __future__ import annotations

from pbxd.agi.session import Session
from pbxd.errors import AGIAppError, AGIHangup

PATIENCE = 6.0  # s for each key


async def play(session: Session, *sounds: str, escape: str = "") -> str:
    """Play sounds, until a key of `escape`; the key. A sound that this Asterisk does not have is passed over."""
    for sound in sounds:
        try:
            key = await session.stream_file(sound, escape)
        except AGIHangup:
            raise
        except AGIAppError:
            if await session.channel_status() < 0:
                raise
            continue
        if key:
            return key
    return ""


async def ask(session: Session, sound: str, digits: int = 20) -> str:
    """Play a sound and take digits, ended by #; empty if nothing was keyed."""
    return await session.get_data(sound, PATIENCE, digits)


async def choose(session: Session, keys: str, *sounds: str) -> str:
    """Play a menu and take one key of `keys`; empty if none came."""
    key = await play(session, *sounds, escape=keys)
    return key or await one_of(session, keys)


async def one_of(session: Session, keys: str) -> str:
    """Wait for a key; empty if none, or another one, came."""
    key = await session.wait_for_digit(PATIENCE)
    return key if key in keys else ""
