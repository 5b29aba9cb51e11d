"""What the daemon's libraries would load and it never needs: its memory at rest is the sum of what is loaded."""

from __future__ import annotations

import importlib
import sys


def load_structlog() -> None:
    """Load structlog without rich, 5 MB with what that brings: it would draw tracebacks, which `logs` has as text by then."""
    known = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment] # its import fails then, and structlog does without
    importlib.import_module("structlog")
    del sys.modules["rich"]
    if known is not None:
        sys.modules["rich"] = known
