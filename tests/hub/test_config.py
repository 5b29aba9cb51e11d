"""The hub's configuration, its keys and its store."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pbxd.errors import ConfigError, HubError
from pbxd.hub import keys
from pbxd.hub.config import HubConfig, load
from pbxd.hub.config import keys as hub_keys
from pbxd.hub.database import MIGRATIONS, Database, bring
from pbxd.hub.keys import Keys
from pbxd.hub.schema import HEAD, metadata
from pbxd.stats.engine import open_engine
from pbxd.stats.migrate import migrate
from tests.stats.postgres import Server

MISTAKES = [
    ("databse: x", "databse: unknown key; did you mean database?"),
    ("limits: {conections: 3}", "limits.conections: unknown key; did you mean limits.connections?"),
    ("listen: here", "listen: an address is written host:port"),
    ("database: mysql://u:secret@h/d", "database: mysql is not one of"),
    ("database: nonsense", "database: is no URL"),
    ("metrics: 0.0.0.0:9465", "metrics: has to be on this machine"),
    ("limits: {burst: 0}", "limits.burst: Input should be greater than or equal to 1"),
    ("certificates: {box: 10}", "certificates.box: a duration is written"),
    ("certificates: {box: 0s}", "certificates.box: has to be more than 0"),
    ("certificates: {box: 1d, renew: 2d}", "certificates.renew has to be shorter"),
    ("keys: here", "keys: a path begins with /"),
    ("classical_kex: maybe", "classical_kex: Input should be a valid boolean"),
    ("log: {level: loud}", "log.level: Input should be"),
    ("- 1", "holds no keys"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_mistakes_are_told_with_their_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pbxhub.yaml"
    path.write_text(f"# a comment\n{text}\n")
    with pytest.raises(ConfigError) as told:
        load(path)
    (problem,) = told.value.problems
    assert message in problem
    assert problem.startswith((f"{path}:2: ", f"{path}:1: certificates.renew"))
    assert "secret" not in problem


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pbxhub.yaml"
    path.write_text("listen: here\nnode: ''\nlimits:\n  rate: 0\nkeys: x\n")
    with pytest.raises(ConfigError) as told:
        load(path)
    assert [problem.split(":")[1] for problem in told.value.problems] == ["1", "2", "4", "5"]


def test_an_empty_file_and_empty_groups_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "pbxhub.yaml"
    path.write_text("limits:\nlog:\n")
    assert load(path).config == HubConfig()
    with pytest.raises(ConfigError, match="pbxhub init"):
        load(tmp_path / "none.yaml")
    path.write_text("database: postgresql+asyncpg://hub:secret@db/hub\n")
    path.chmod(0o644)
    assert "every user may read" in load(path).warnings[0]


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = keys.make(folder)
    assert keys.make(folder) == []
    assert {path.name: path.stat().st_mode & 0o777 for path in made} == {
        **dict.fromkeys(("host_key", "box_ca", "support_ca", "message_key"), 0o600),
        **dict.fromkeys(("host_key.pub", "box_ca.pub", "support_ca.pub", "message_key.pub"), 0o644),
    }
    (folder / "support_ca").unlink()  # taken off this machine, as it should be
    assert keys.make(folder) == []
    assert Keys.read(folder).support_ca == keys.public_line(folder / "support_ca.pub")
    (folder / "box_ca").chmod(0o644)
    with pytest.raises(HubError, match="others may read it"):
        Keys.read(folder)
    (folder / "box_ca").chmod(0o600)
    (folder / "host_key").write_text("nothing")
    with pytest.raises(HubError, match="is no private key"):
        Keys.read(folder)
    with pytest.raises(HubError, match="has to be Ed25519"):
        keys.line_of("ecdsa-sha2-nistp256 " + ECDSA)


ECDSA = (
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT"
    "/y6v0mKV0U2w0WZ2YB/++Tpockg="
)


def test_every_key_and_its_default_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hub.md").read_text()
    table = page.partition("## Configuration")[2]
    listed = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+?) \|", table, re.MULTILINE))
    assert set(listed) == set(hub_keys())
    defaults = HubConfig().model_dump(mode="json")
    for key, told in listed.items():
        group, _, name = key.rpartition(".")
        value = (defaults[group] if group else defaults)[name]
        if told.startswith("`"):
            assert told == f"`{str(value).lower() if isinstance(value, bool) else value}`", key


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_migrations_make_the_tables(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server: Server | None = request.getfixturevalue("postgres") if kind == "postgresql" else None
    url = f"sqlite+aiosqlite:///{tmp_path}/hub.db" if server is None else server.database()
    await (await Database.open(url)).close()
    engine = open_engine(url)
    async with engine.connect() as connection:
        difference = await connection.run_sync(
            lambda plain: compare_metadata(MigrationContext.configure(plain), metadata)
        )
    await engine.dispose()
    assert difference == []
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD
    assert await asyncio.to_thread(migrate, url, HEAD, bring) is False
