"""The configuration: every mistake at once, each with its place; nothing but ConfigError, whatever the file holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbxd.config.load import load, load_with_notes, render
from pbxd.config.schema import Config, changed, keys, taken_up, value_of
from pbxd.config.values import SIZE, duration, duration_text, size, size_text
from pbxd.errors import ConfigError

PROJECT = Path(__file__).parent.parent.parent
SHIPPED = PROJECT / "etc" / "pbxd.yaml"


def problems(folder: Path, text: str, **files: str) -> list[str]:
    path = folder / "pbxd.yaml"
    path.write_text(text)
    for name, content in files.items():
        (folder / "conf.d").mkdir(exist_ok=True)
        (folder / "conf.d" / f"{name}.yaml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


MISTAKES = [
    ("sit:\n  name: x\n", ["pbxd.yaml:1: sit: unknown key; did you mean site?"]),
    ("site:\n  nam: x\n", ["pbxd.yaml:2: site.nam: unknown key; did you mean site.name?"]),
    ("site:\n  disk_low: 1GiB\n", ["pbxd.yaml:2: site.disk_low: unknown key; did you mean doctor.disk_low?"]),
    ("ami:\n  tls:\n    verfy: true\n", ["pbxd.yaml:3: ami.tls.verfy: unknown key; did you mean ami.tls.verify?"]),
    ("site: x\n", ["pbxd.yaml:1: site: Input should be a valid dictionary"]),
    ("- site\n", ["pbxd.yaml:1: holds no keys"]),
    ("site:\n  name: a\n  name: b\n", ["pbxd.yaml:3: site.name: stands here twice"]),
    ("site:\n  name: [a\n", ["pbxd.yaml:3: is not YAML"]),
    ("journal:\n  keep: 7 days\n", ["pbxd.yaml:2: journal.keep: a duration"]),
    ("journal:\n  cel: here.csv\n", ["pbxd.yaml:2: journal.cel: a path begins with /"]),
    ("site:\n  extensions: [_1XX]\n", ["pbxd.yaml:2: site.extensions.0: a dial pattern"]),
    ("site:\n  time_zone: Mars/North\n", ["pbxd.yaml:2: site.time_zone: 'Mars/North' is no time zone"]),
    ("metrics:\n  listen: 9464\n", ["pbxd.yaml:2: metrics.listen: an address"]),
    ("site:\n  name: !!python/object:os.system x\n", ["pbxd.yaml:2: site.name: the tag"]),
    ("log:\n  level: loud\n", ["pbxd.yaml:2: log.level: Input should be 'debug'"]),
    (
        "reports:\n  schedules:\n    - {name: a b, report: call, at: 25:00, to: [x]}\n",
        [
            "pbxd.yaml:3: reports.schedules.0.at: a time of day",
            "pbxd.yaml:3: reports.schedules.0.name: String should match",
            "pbxd.yaml:3: reports.schedules.0.report: Input should be 'calls'",
            "pbxd.yaml:3: reports.schedules.0.to.0: a mail address",
        ],
    ),
    (
        "reports:\n  schedules:\n    - name: a\n      report: calls\n      too: [a@b.c]\n      to: [a@b.c]\n",
        ["pbxd.yaml:5: reports.schedules.0.too: unknown key; did you mean reports.schedules.0.to?"],
    ),
    (
        "reports: {schedules: [{name: a, report: calls, to: [a@b.c]}]}\n",
        ["pbxd.yaml:1: reports: schedules need reports.mail.host"],
    ),
    (
        "reports: {schedules: [{name: a, report: calls, to: []}]}\n",
        ["pbxd.yaml:1: reports: the schedule a goes to nobody"],
    ),
    (
        f"reports: {{mail: {{host: h, sender: a@b.c}}, schedules: [{', '.join(['{name: a, report: calls, to: [a@b.c]}'] * 2)}]}}\n",
        ["pbxd.yaml:1: reports: two schedules have the name a"],
    ),
    (
        "reports:\n  mail:\n    password: [hunter2]\n",
        ["pbxd.yaml:3: reports.mail.password: Input should be a valid string"],
    ),
    (
        "voicemail:\n  enabled: true\n  boxes:\n    - box: '101'\n      mail: [a@b.c]\n    - {box: 102, notic: text}\n",
        ["pbxd.yaml:6: voicemail.boxes.1.notic: unknown key; did you mean voicemail.boxes.1.notice?"],
    ),
    (
        "voicemail:\n  enabled: true\n  boxes:\n    - box: '101'\n      mail: [a@b.c]\n",
        ["pbxd.yaml:5: voicemail.boxes.0.mail: mail needs reports.mail.host and reports.mail.sender"],
    ),
    (
        "uplink:\n  checkpoints: mail\n  checkpoints_to: a@b.c\n",
        ["pbxd.yaml:2: uplink.checkpoints: mail needs reports.mail.host and reports.mail.sender"],
    ),
    (
        "uplink:\n  checkpoints: mail\n",
        ["pbxd.yaml:1: uplink: checkpoints: mail needs checkpoints_to"],
    ),
    (
        "voicemail: {enabled: true, boxes: [{box: 101}, {box: '101@default'}]}\n",
        ["pbxd.yaml:1: voicemail: the mailbox 101@default stands here twice"],
    ),
    ("voicemail: {keep: 90d}\n", ["pbxd.yaml:1: voicemail: boxes, archive_after, archive_new and keep need"]),
    (
        "voicemail: {enabled: true, boxes: [{box: ../x}]}\n",
        ["pbxd.yaml:1: voicemail.boxes.0.box: a mailbox is written"],
    ),
    (
        "ami:\n  port: abc\nsite:\n  nam: x\n",
        ["pbxd.yaml:2: ami.port: Input should be a valid integer", "pbxd.yaml:4: site.nam"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistakes_are_told_with_their_place(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = problems(tmp_path, text)
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)


def test_mistakes_of_several_files_come_together(tmp_path: Path) -> None:
    found = problems(tmp_path, "sit: 1\n", a="amy: 1\n", b="log:\n  leve: info\n")
    assert [problem.partition(": ")[0] for problem in found] == ["conf.d/a.yaml:1", "conf.d/b.yaml:2", "pbxd.yaml:1"]


def test_later_files_are_laid_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "pbxd.yaml").write_text("site: {name: a, trunks: [PJSIP/a, PJSIP/b]}\nami:\n")
    (tmp_path / "conf.d" / "1.yaml").write_text("site: {trunks: [PJSIP/c]}\n")
    (tmp_path / "conf.d" / "2.yaml").write_text("")
    config = load(tmp_path / "pbxd.yaml")
    assert (config.site.name, config.site.trunks) == ("a", ("PJSIP/c",))


def test_a_file_that_is_not_there_or_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"site:\n  name: M\xfcller\n")
    with pytest.raises(ConfigError, match=r"x.yaml:2: is not UTF-8"):
        load(tmp_path / "x.yaml")


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_raise_nothing_but_config_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "pbxd.yaml"
    path.write_bytes(data)
    found: list[str] = []
    try:
        load(path)
    except ConfigError as error:
        found = error.problems
    assert all(re.match(r".+:\d+: ", problem) for problem in found)


@given(st.integers(1, 10**6), st.sampled_from(sorted(SIZE)))
def test_sizes_round_trip(count: int, unit: str) -> None:
    assert size(size_text(size(f"{count}{unit}"))) == size(f"{count}{unit}")


@given(st.integers(1, 10**6), st.sampled_from(["ms", "s", "min", "h", "d", "w"]))
def test_durations_round_trip(count: int, unit: str) -> None:
    seconds = duration(f"{count}{unit}")
    assert duration(duration_text(seconds)) == pytest.approx(seconds)


class TestSecrets:
    """The AMI secret: where it comes from, and that it is never shown."""

    def test_order(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("from-file\n")
        (tmp_path / "ami-secret").write_text("from-credential\n")
        path = tmp_path / "pbxd.yaml"
        path.write_text(f"ami: {{secret: inline, secret_file: {tmp_path}/file}}\n")
        for credentials, expected in ((tmp_path, "from-credential"), (None, "from-file")):
            secret = load(path, credentials=credentials).ami.secret
            assert secret is not None
            assert secret.get_secret_value() == expected

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, f"ami:\n  secret_file: {tmp_path}/none\n")
        assert found.startswith("pbxd.yaml:2: ami.secret_file:")

    def test_it_is_never_shown(self, tmp_path: Path) -> None:
        path = tmp_path / "pbxd.yaml"
        path.write_text("ami: {secret: hunter2}\n")
        config = load(path)
        assert "hunter2" not in render(config) + repr(config) + str(config.model_dump())
        path.write_text("ami: {secret: [hunter2]}\n")
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert "hunter2" not in str(caught.value)

    def test_warnings(self, tmp_path: Path) -> None:
        path = tmp_path / "pbxd.yaml"
        path.write_text("ami: {secret: x}\n")
        path.chmod(0o644)
        assert any("every user" in warning for warning in load_with_notes(path).warnings)
        path.write_text("")
        assert any("no AMI secret" in warning for warning in load_with_notes(path).warnings)


class TestMailPassword:
    """The mail server's password goes the way of the AMI secret."""

    def test_order(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("from-file\n")
        (tmp_path / "mail-password").write_text("from-credential\n")
        path = tmp_path / "pbxd.yaml"
        path.write_text(f"reports: {{mail: {{password: inline, password_file: {tmp_path}/file}}}}\n")
        for credentials, expected in ((tmp_path, "from-credential"), (None, "from-file")):
            password = load(path, credentials=credentials).reports.mail.password
            assert password is not None
            assert password.get_secret_value() == expected

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, f"reports:\n  mail:\n    password_file: {tmp_path}/none\n")
        assert found.startswith("pbxd.yaml:3: reports.mail.password_file:")

    def test_it_is_never_shown(self, tmp_path: Path) -> None:
        path = tmp_path / "pbxd.yaml"
        path.write_text("reports: {mail: {password: hunter2}}\n")
        path.chmod(0o644)
        found = load_with_notes(path)
        assert "hunter2" not in render(found.config) + repr(found.config)
        assert any("reports.mail.password stands in a file that every user may read" in text for text in found.warnings)
        (told,) = problems(tmp_path, "reports: {mail: {password: [hunter2]}}\n")
        assert "hunter2" not in told

    def test_warnings(self, tmp_path: Path) -> None:
        path = tmp_path / "pbxd.yaml"
        path.write_text("reports: {mail: {host: mail.example.org, username: pbx, security: none}}\n")
        told = " ".join(load_with_notes(path).warnings)
        assert "no password" in told
        assert "for everybody on the way to read" in told


@pytest.mark.parametrize(
    ("written", "expected"), [("'07:00'", "07:00"), ("7:05", "07:05"), ("17:30", "17:30"), ("1:00", "01:00")]
)
def test_times_of_day_with_and_without_quotes(tmp_path: Path, written: str, expected: str) -> None:
    path = tmp_path / "pbxd.yaml"
    path.write_text(
        "reports:\n  mail: {host: h, sender: a@b.c}\n"
        f"  schedules:\n    - name: a\n      report: calls\n      to: [a@b.c]\n      at: {written}\n"
    )
    assert load(path).reports.schedules[0].at == expected


class TestShipped:
    """etc/pbxd.yaml and docs/configuration.md say what the schema says."""

    def test_the_shipped_file_is_the_default(self) -> None:
        assert load(SHIPPED) == Config()

    def test_it_has_every_key_with_its_default(self, tmp_path: Path) -> None:
        text = [line for line in SHIPPED.read_text().splitlines() if not line.startswith("##")]
        lines = [line.removeprefix("#") for line in text]
        path = tmp_path / "pbxd.yaml"
        path.write_text("\n".join(lines))
        assert load(path) == Config()
        named = [match[1] for line in lines if (match := re.match(r"^ +([a-z_]+):", line))]
        named.append("people")  # a list, and no group: it stands at the margin
        assert sorted(named) == sorted(
            [key.rpartition(".")[2] for key in keys()] + ["tls", "mail", "lookup", "greeting", "directory", "scripts"]
        )

    def test_it_says_which_changes_need_a_restart(self) -> None:
        group, comment, marked = "", "", set()
        for line in SHIPPED.read_text().splitlines():
            if match := re.match(r"^#?( *)([a-z_]+):", line):
                depth = len(match[1]) // 2
                group = ".".join([*group.split(".")[:depth], match[2]]) if depth else match[2]
                marked |= {group} if "(restart)" in comment else set()
            comment = comment + line if line.startswith("##") else ""
        assert marked == {key for key, info in keys().items() if info.json_schema_extra == {"restart": True}}

    def test_the_documented_keys_are_the_schema(self) -> None:
        text = (PROJECT / "docs" / "configuration.md").read_text()
        rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", text, re.MULTILINE))
        assert set(rows) == set(keys())
        restart = set(re.findall(r"^\| `([a-z_.]+)` \|.*?\| yes \|", text, re.MULTILINE))
        assert restart == {key for key, info in keys().items() if info.json_schema_extra == {"restart": True}}


def test_changes_that_need_a_restart_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "pbxd.yaml"
    path.write_text("site: {extensions: [2XX]}\nami: {port: 5039}\n")
    assert changed(Config(), load(path)) == (["site.extensions"], ["ami.port"])
    assert value_of(load(path), "ami.port") == 5039
    running = taken_up(Config(), load(path))
    assert (running.site.extensions, running.ami.port) == (("2XX",), 5038)
    assert changed(running, load(path)) == ([], ["ami.port"])  # it still waits
