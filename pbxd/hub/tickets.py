"""Tickets of support as the boxes tell of them, the connections that boxes hold for them, and who went through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from pbxd.hub.database import Database, now, rows, run


async def told(connection: AsyncConnection, box: int, open_ones: Iterable[Mapping[str, Any]]) -> None:
    """A box tells which tickets are open: those that it no longer tells of have ended."""
    ids = set()
    for one in open_ones:
        ids.add(one["id"])
        sql = (
            "INSERT INTO tickets (box, id, opened, until, scope, reason) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (box, id)"
            " DO UPDATE SET until = excluded.until, scope = excluded.scope, ended = NULL"
        )
        await run(connection, sql, box, one["id"], one["opened"], one["until"], one["scope"], one["reason"])
    for (ticket,) in await rows(connection, "SELECT id FROM tickets WHERE box = ? AND ended IS NULL", box):
        if ticket not in ids:
            await run(connection, "UPDATE tickets SET ended = ? WHERE box = ? AND id = ?", now(), box, ticket)


async def link_began(database: Database, box: int, node: str) -> int:
    """A box holds a connection for support; the number of its row."""
    async with database.writing("noting a support connection") as connection:
        sql = "INSERT INTO links (box, node, began) VALUES (?, ?, ?) RETURNING id"
        ((link,),) = await rows(connection, sql, box, node, now())
        return int(link)


async def link_ended(database: Database, link: int) -> None:
    """It is gone."""
    await database.write("noting an end of support", "UPDATE links SET ended = ? WHERE id = ?", now(), link)


async def link_of(database: Database, box: str) -> tuple[int, str] | None:
    """The box's support connection and the address of the node that holds it; None if it holds none."""
    sql = (
        "SELECT links.id, coalesce(address, links.node) FROM links JOIN boxes ON boxes.number = links.box"
        " LEFT JOIN nodes ON nodes.name = links.node WHERE boxes.id = ? AND ended IS NULL ORDER BY links.id DESC LIMIT 1"
    )
    found = await database.read("looking for a support connection", sql, box)
    return (int(found[0][0]), str(found[0][1])) if found else None


async def visit_began(database: Database, link: int, person: str, address: str) -> int:
    """A person goes through to a box; the number of the row."""
    async with database.writing("noting a visit") as connection:
        sql = "INSERT INTO visits (link, person, address, began, sent, received) VALUES (?, ?, ?, ?, 0, 0) RETURNING id"
        ((visit,),) = await rows(connection, sql, link, person, address, now())
        return int(visit)


async def visit_ended(database: Database, visit: int, sent: int, received: int) -> None:
    """The way through is closed; how many bytes went to the box and came from it."""
    sql = "UPDATE visits SET ended = ?, sent = ?, received = ? WHERE id = ?"
    await database.write("noting the end of a visit", sql, now(), sent, received, visit)
