"""How benches print: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import Any


def machine() -> str:
    """What it ran on."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, Linux {platform.release()}"
    )


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print the rows."""
    if as_json:
        print(
            json.dumps(
                {"title": title, "machine": machine(), "rows": [dict(zip(head, row, strict=True)) for row in rows]}
            )
        )
        return
    texts = [[f"{cell:,.2f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
             for row in rows]  # fmt: skip
    widths = [max(len(row[n]) for row in [list(head), *texts]) for n in range(len(head))]
    print(f"{title} ({machine()})")
    for row in [list(head), ["-" * width for width in widths], *texts]:
        print(
            "  ".join(
                cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        )
