"""The class of a recording: what rules and the dialplan say of a call, which of it counts, and over what it lasts."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pbxd.calls.site import dial_pattern
from pbxd.config.load import load
from pbxd.config.recording import Recording as RecordingKeys
from pbxd.errors import ConfigError
from pbxd.recording.policy import Consent, Mode, Rule
from pbxd.recording.segments import recording_of, state_of
from tests.recording.deciding import Stage

KEPT = {"call": 90.0, "complaint": 20.0, "order": 700.0, "law": inf}


def rule(number: str, kind: str) -> Rule:
    return Rule(Mode.ALWAYS, consent=Consent.NONE, extensions=(dial_pattern(number),), kind=kind)


def office(*rules: Rule) -> Stage:
    """A recorder with these rules, and four phones: 101 rings 102, 103 rings 104."""
    stage = Stage(*rules, kept=KEPT)
    for n in (1, 3):
        stage.new(n, f"PJSIP/10{n}", exten=f"10{n + 1}")
        stage.new(n + 1, f"PJSIP/10{n + 1}", linked=n)
    return stage


def say(stage: Stage, n: int, kind: str) -> None:
    stage.do(stage.recorder.classify(f"1.{n}", kind, stage.now))


@pytest.mark.parametrize(
    ("rules", "said", "kind"),
    [
        ([rule("10X", "")], "", "call"),
        ([rule("10X", "complaint")], "", "complaint"),
        ([rule("101", "complaint"), rule("10X", "order")], "", "order"),  # that which is kept longest
        ([rule("101", "order"), rule("10X", "complaint")], "", "order"),
        ([rule("101", "order"), rule("10X", "law")], "", "law"),
        ([rule("101", "complaint"), rule("10X", "")], "", "complaint"),  # though it is kept less long than `call` is
        ([rule("10X", "law")], "complaint", "complaint"),  # the dialplan knows the call
    ],
)
def test_of_a_call(rules: list[Rule], said: str, kind: str) -> None:
    stage = office(*rules)
    if said:
        say(stage, 1, said)  # before it is recorded
    stage.call()
    stage.hang_up(1, 2)
    (made,) = stage.done
    assert stage.told()["class"] == made.kind == kind


def test_the_last_word_of_the_dialplan() -> None:
    stage = office(rule("10X", "order"))
    say(stage, 1, "law")
    stage.call()
    say(stage, 2, "complaint")
    stage.hang_up(1, 2)
    assert stage.done[0].kind == "complaint"


def test_it_goes_with_the_call() -> None:
    """Who began it has left, and another joined: the rules of all who took part count, and what was said of it lasts."""
    for said, kind in (("", "law"), ("complaint", "complaint")):
        stage = office(rule("103", "law"), rule("10X", "order"))
        if said:
            say(stage, 1, said)
        stage.call()
        stage.bridge("a", 3)
        stage.hang_up(1)
        stage.hang_up(3)
        stage.bridge("a", 4)
        stage.hang_up(2, 4)
        assert stage.done[-1].kind == kind


def test_calls_that_meet() -> None:
    stage = office(rule("10X", ""))
    say(stage, 1, "complaint")
    say(stage, 3, "order")
    stage.call()
    stage.call(3, 4, "b")
    stage.bridge("a", 3, 4)
    stage.hang_up(1, 2, 3, 4)
    assert [made.kind for made in stage.done] == ["order"]


def test_one_call_is_not_the_other() -> None:
    stage = office(rule("10X", ""))
    say(stage, 3, "order")
    stage.call()
    stage.call(3, 4, "b")
    stage.hang_up(1, 2, 3, 4)
    assert [made.kind for made in stage.done] == ["call", "order"]


def test_it_outlives_a_restart() -> None:
    stage = office(rule("10X", "law"))
    say(stage, 1, "complaint")
    stage.call()
    (made,) = stage.recorder.recordings.values()
    assert recording_of(state_of(made)).kind == "complaint"
    values: dict[str, Any] = json.loads(state_of(made))
    del values["said"], values["rules_classes"]  # of a pbxd that knew no classes
    assert recording_of(json.dumps(values)).kind == "call"


KEYS = """
classes: [complaint, order]
keep: 90d
keep_classes: {complaint: 3w}
rules: [{record: always, class: complaint}, {record: never}]
"""


def test_the_configuration() -> None:
    keys = RecordingKeys.model_validate(yaml.safe_load(KEYS))
    assert keys.kept == {"call": 90 * 86_400, "complaint": 21 * 86_400, "order": 90 * 86_400}
    assert [one.class_ for one in keys.rules] == ["complaint", ""]
    shown = keys.model_dump(mode="json")
    assert [one["class"] for one in shown["rules"]] == ["complaint", ""]
    assert RecordingKeys.model_validate(shown) == keys


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            "{complaint: 3w}",
            "{complain: 3w}",
            "keep_classes.complain: there is no class 'complain'; there are call, complaint, order",
        ),
        (
            "class: complaint",
            "class: private",
            "rules.0.class: there is no class 'private'; there are call, complaint, order",
        ),
        (
            "[complaint, order]",
            "[order]",
            "keep_classes.complaint: there is no class 'complaint'; there are call, order",
        ),
        ("[complaint, order]", "['no class!', complaint]", "classes.0"),
        ("class: complaint", "class_: complaint", "class_"),
    ],
)
def test_a_class_that_there_is_not(before: str, after: str, told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RecordingKeys.model_validate(yaml.safe_load(KEYS.replace(before, after)))
    assert told in str(caught.value)


def test_each_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pbxd.yaml"
    file.write_text(
        "recording:\n  classes: [order]\n  rules:\n    - {record: always, class: odor}\n  keep_classes:\n    foo: 3d\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    told = [problem.removeprefix(str(tmp_path)) for problem in caught.value.problems]
    assert told[0].startswith(
        "/pbxd.yaml:3: recording.rules: rules.0.class: there is no class 'odor'; there are call, order"
    )
    assert told[1].startswith("/pbxd.yaml:5: recording.keep_classes: keep_classes.foo: there is no class 'foo'")
