"""Who asks, at the control socket: what the kernel says of the other end, and numbers in its question."""

from __future__ import annotations

from starlette.requests import Request

from pbxd.errors import ControlError


def uid_of(request: Request) -> int:
    """The user id of the peer, as the server took it from the kernel. ControlError if it is not known."""
    if request.client is None or not request.client.host.isdecimal():
        raise ControlError("it is not known who asks")
    return int(request.client.host)


def number(request: Request, name: str, default: int) -> int:
    """A whole number of the query. ControlError if it is none."""
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        raise ControlError(f"{name} is {text!r}, not a whole number")
    return int(text)


def only(request: Request, *known: str) -> None:
    """Take no parameters but these: a filter that is misspelt would answer too much. ControlError for others."""
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        raise ControlError(f"unknown parameter {', '.join(unknown)}; there are {', '.join(known) or 'none'}")


async def body(request: Request, limit: int, what: str) -> bytes:
    """The body of a request. ControlError if it is longer than `limit` bytes, as soon as that is known."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise ControlError(f"the {what} has more than {limit} bytes")
    return bytes(data)
