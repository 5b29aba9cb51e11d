"""Reads pbxd.yaml and conf.d, and tells every mistake at once, each with its file and line.

The only place that knows YAML. Values keep the place where they were written (`Placed`), so that a mistake that the schema finds
is told where it stands, in whichever file.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pbxd.config.overlay import own_keys
from pbxd.config.people import PersonEntry
from pbxd.config.schema import Config, Schedule, keys, value_of
from pbxd.config.secrets import find_password, find_secret
from pbxd.config.support import VendorRules
from pbxd.config.voicemail import MailboxEntry
from pbxd.errors import ConfigError

Places = dict[tuple[str, ...], str]  # path of keys -> "file:line"
FAULTY = object()  # stands for a value whose fault has been told: the schema need not tell it again
PLAIN = {"str", "int", "float", "bool", "null", "map", "seq"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, what an admin should know of it, and the files that it came from."""

    config: Config
    warnings: tuple[str, ...]
    files: tuple[Path, ...]


def load(path: Path, *, credentials: Path | None = None) -> Config:
    """The configuration in `path` and in `conf.d/*.yaml` beside it. ConfigError with every mistake."""
    return load_with_notes(path, credentials=credentials).config


def load_with_notes(path: Path, *, credentials: Path | None = None, accepted: Path | None = None) -> Loaded:
    """Like `load`, with the warnings. `credentials` is systemd's $CREDENTIALS_DIRECTORY.

    `accepted` is read in place of the file of accepted proposals, to try one.
    """
    problems: list[str] = []
    places: Places = {}
    tree: dict[str, Any] = {}
    files = [path, *sorted((path.parent / "conf.d").glob("*.yaml"))]
    for file in files:
        merge(tree, read(file, places, problems))
    files += _lay_accepted(accepted or _accepted(tree), tree, places, problems)
    config = check(tree, places, problems, path)
    warnings: list[str] = []
    if config is not None:
        problems.extend(untold(config, places, path))
        config = find_secret(config, credentials, places.get(("ami", "secret_file"), str(path)), problems, warnings)
        where = places.get(("reports", "mail", "password_file"), str(path))
        config = find_password(config, credentials, where, problems, warnings)
        for key in (("ami", "secret"), ("reports", "mail", "password")):
            if key in places and (secret := value_of(config, ".".join(key))) is not None and secret.get_secret_value():
                warn_readable(Path(places[key].rpartition(":")[0]), ".".join(key), warnings)
    if problems or config is None:
        raise ConfigError(sorted(set(problems), key=by_place))
    return Loaded(config, tuple(warnings), tuple(files))


def untold(config: Config, places: Places, path: Path) -> list[str]:
    """What is to be told by mail, where there is no mail server: new voice messages, checkpoints of the ledger."""
    if config.reports.mail.host and config.reports.mail.sender:
        return []
    boxes = enumerate(config.voicemail.boxes)
    keys_of: list[tuple[str, ...]] = [("voicemail", "boxes", str(n), "mail") for n, entry in boxes if entry.mail]
    keys_of += [("uplink", "checkpoints")] if config.uplink.checkpoints == "mail" else []
    return [
        f"{places.get(key, f'{path}:1')}: {'.'.join(key)}: mail needs reports.mail.host and reports.mail.sender"
        for key in keys_of
    ]


def _accepted(tree: dict[str, Any]) -> Path:
    """Where the file of accepted proposals is, as the customer's own files say; it cannot say so itself."""
    group = tree.get("uplink")
    named = group.get("accepted") if isinstance(group, dict) else None
    return Path(named) if isinstance(named, str) and named.startswith("/") else VendorRules().accepted


def _lay_accepted(file: Path, tree: dict[str, Any], places: Places, problems: list[str]) -> list[Path]:
    """Lay accepted proposals over `tree`; the files that were read."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return []  # nothing was accepted yet
    except OSError as error:
        problems.append(f"{file}:1: cannot be read: {error.strerror}")
        return []
    more = read(file, places, problems)
    problems += [
        f"{places.get(tuple(key.split('.')), f'{file}:1')}: {key}: only your own files may set it"
        for key in own_keys(more)
    ]
    merge(tree, more)
    return [file]


def by_place(problem: str) -> tuple[str, int, str]:
    """Sorts problems by file, then line as a number."""
    file, _, rest = problem.partition(":")
    line = rest.partition(":")[0]
    return (file, int(line) if line.isdecimal() else 0, rest)


def warn_readable(file: Path, key: str, warnings: list[str]) -> None:
    """A secret in a file that everybody may read."""
    if file.stat().st_mode & 0o004:
        warnings.append(f"{file}: {key} stands in a file that every user may read: chmod 640, or use {key}_file")


def read(file: Path, places: Places, problems: list[str]) -> dict[str, Any]:
    """The plain values of one file; where each stands goes to `places`, mistakes to `problems`."""
    try:
        text = file.read_bytes().decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        problems.append(f"{file}:1: there is no such file; a commented one is in etc/pbxd.yaml")
    except OSError as error:
        problems.append(f"{file}:1: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problems.append(f"{file}:{line}: is not UTF-8 at this line: save it as UTF-8")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problems.append(f"{file}:{line}: is not YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        problems.append(f"{file}:1: is not YAML: {str(error).splitlines()[0]}")
    except RecursionError:
        problems.append(f"{file}:1: is nested too deeply")
    else:
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            problems.append(f"{file}:{node.start_mark.line + 1}: holds no keys; write `site:` and below it `name: …`")
            return {}
        value = plain(node, file, (), places, problems)
        return value if isinstance(value, dict) else {}
    return {}


def plain(node: yaml.Node, file: Path, path: tuple[str, ...], places: Places, problems: list[str]) -> Any:  # noqa: ANN401
    """The value of a node: mappings, lists and scalars only."""
    line = f"{file}:{node.start_mark.line + 1}"
    if path:
        places[path] = line
    if node.tag.rpartition(":")[2] not in PLAIN:
        problems.append(
            f"{line}: {'.'.join(path)}: the tag {node.tag} is not taken; write it plainly, in quotes if need be"
        )
        return FAULTY
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
            where = f"{file}:{key_node.start_mark.line + 1}"
            if not key:
                problems.append(f"{where}: a key is one word")
            elif key in found:
                problems.append(f"{where}: {'.'.join((*path, key))}: stands here twice; keep one")
            else:
                value = plain(value_node, file, (*path, key), places, problems)
                places[(*path, key)] = where
                if value is not FAULTY:
                    found[key] = value
        return found
    if isinstance(node, yaml.SequenceNode):
        return [plain(item, file, (*path, str(n)), places, problems) for n, item in enumerate(node.value)]
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, yaml.YAMLError) as error:
        problems.append(f"{line}: {'.'.join(path)}: {str(error).splitlines()[0]}")
        return FAULTY


def merge(tree: dict[str, Any], more: dict[str, Any]) -> None:
    """Lay `more` over `tree`: mappings merge, everything else is replaced."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            merge(tree[key], value)
        else:
            tree[key] = value


def check(tree: dict[str, Any], places: Places, problems: list[str], path: Path) -> Config | None:
    """The configuration, or None with what is wrong in `problems`."""
    # `ami:` with nothing below it is an empty group, not a mistake.
    groups = {name: {} if value is None and is_group(name) else value for name, value in tree.items()}
    try:
        return Config.model_validate(groups)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=True)
        problems.extend(tell(fault, places, path) for fault in faults)
        return None


def is_group(name: str) -> bool:
    """Whether a key of the file itself is a group of keys."""
    info = Config.model_fields.get(name)
    return info is not None and info.default_factory is not None


def tell(fault: Any, places: Places, path: Path) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    """One mistake that the schema found, as a line for an admin."""
    location = tuple(str(part) for part in fault["loc"] if not str(part).startswith("function-"))
    known = [location[:n] for n in range(len(location), 0, -1) if location[:n] in places]
    where = places[known[0]] if known else f"{path}:1"
    key = ".".join(known[0] if known else location)
    if fault["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key{meant(location)}"
    text = re.sub(r"^Value error, ", "", fault["msg"])
    hidden = any(word in key for word in ("secret", "password", "agi.agents"))  # an agent's PIN
    shown = "" if hidden else f" (found {str(fault['input'])[:60]!r})"
    return f"{where}: {key}: {text}{shown}"


def meant(location: tuple[str, ...]) -> str:
    """The key that was probably meant."""
    all_keys = list(keys()) + [
        f"reports.schedules.{n}.{name}" for n in location if n.isdecimal() for name in Schedule.model_fields
    ]
    all_keys += [f"people.{n}.{name}" for n in location if n.isdecimal() for name in PersonEntry.model_fields]
    all_keys += [f"voicemail.boxes.{n}.{name}" for n in location if n.isdecimal() for name in MailboxEntry.model_fields]
    group = ".".join(location[:-1])
    siblings = {
        key[len(group) + 1 :].split(".")[0] if group else key.split(".")[0] for key in all_keys if key.startswith(group)
    }
    close = difflib.get_close_matches(location[-1], sorted(siblings), 1)
    if close:
        return f"; did you mean {'.'.join((*location[:-1], close[0]))}?"
    elsewhere = [key for key in all_keys if key.endswith("." + location[-1])]
    return f"; did you mean {elsewhere[0]}?" if elsewhere else f"; there are {', '.join(sorted(siblings))}"


def render(config: Config) -> str:
    """The configuration in force, as YAML; secrets only as (set)."""
    values = config.model_dump(mode="json")
    for part, name in ((values["ami"], "secret"), (values["reports"]["mail"], "password")):
        if part[name] is not None:
            part[name] = "(set)"
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
