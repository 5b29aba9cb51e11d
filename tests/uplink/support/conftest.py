"""A box that is enrolled, one for all tests here: to start it costs seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.uplink.support.rig import Rig


@pytest.fixture(scope="package")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("box"))
    made.pbxd.start()
    yield made
    made.pbxd.kill()
