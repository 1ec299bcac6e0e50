"""Configuration: ``chargehand.toml`` or ``[tool.chargehand]`` in pyproject.toml, environment variables over it, options over both.

`SETTINGS` is the closed list; ``docs/configuration.md`` has a heading for each. A key that is not in it is refused with
the nearest known name, because a setting that is silently ignored is worse than none: a misspelt environment would be
another environment. One process serves one environment.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import hmac
import os
import re
import secrets as dice
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from chargehand.carriers.embedded import Pace
from chargehand.errors import BadConfiguration, DecisionRefused
from chargehand.supervise.approvals import HostKey

Kind = Literal["text", "list", "seconds", "count", "approve"]
APPROVE = ("declared", "final", "every")
SECONDS_MAX, COUNT_MAX = 1e12, 2**31 - 1
"""Far beyond what anybody waits for or counts, and what clocks and databases can still take."""
FILE, PYPROJECT = "chargehand.toml", "pyproject.toml"
FILE_BYTES_MAX = 1 << 20

DEFAULT_REDACT = (
    "password", "passwd", "secret", "token", "access_token", "refresh_token", "api_key", "apikey", "authorization",
    "cookie", "private_key", "credentials",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its key in the file, its environment variable, what it takes and what it is when nobody says."""

    key: str
    variable: str
    kind: Kind
    default: Any
    says: str


_PACE = Pace()

SETTINGS: tuple[Setting, ...] = (
    Setting("journal", "CHARGEHAND_JOURNAL", "text", "chargehand.db", "where runs and their events are kept"),
    Setting("environment", "CHARGEHAND_ENVIRONMENT", "text", "development", "the one environment that a process serves"),
    Setting("workflows", "CHARGEHAND_WORKFLOWS", "list", (), "the workflows a worker drives, each as module:name"),
    Setting("resources", "CHARGEHAND_RESOURCES", "list", (), "what calls may ask for, each as module:name of one Resource or of a list"),
    Setting("approve", "CHARGEHAND_APPROVE", "approve", "declared", "how much asks a person before it is done"),
    Setting("lease", "CHARGEHAND_LEASE", "seconds", _PACE.lease, "how long a worker may stand still before it stops counting as ticking"),
    Setting("silent_after", "CHARGEHAND_SILENT_AFTER", "seconds", _PACE.silent_after, "after how long without a beat runs are taken over"),
    Setting("keep_loaded", "CHARGEHAND_KEEP_LOADED", "count", _PACE.keep_loaded, "how many waiting runs stay in memory"),
    Setting(
        "chain_key_file",
        "CHARGEHAND_CHAIN_KEY_FILE",
        "text",
        "",
        "the file that holds the key of the journal's hash chains, which seals mail too",
    ),
    Setting("redact", "CHARGEHAND_REDACT", "list", DEFAULT_REDACT, "names of keys whose values are not shown or exported"),
)
BY_KEY = {setting.key: setting for setting in SETTINGS}

VARIABLES_ONLY: dict[str, str] = {
    "CHARGEHAND_CONFIG": "the configuration file, instead of the one found upwards",
    "CHARGEHAND_CHAIN_KEY": "the key itself of the journal's hash chains, which seals mail too, instead of a file that holds it",
    "CHARGEHAND_PRINCIPAL": "who decides, when --as is not given",
    "CHARGEHAND_SECRET": "the secret of who decides; read when a decision is made, never from the command line",
}
"""What only an environment variable can say."""

CHAIN_KEY = "CHARGEHAND_CHAIN_KEY"
CHAIN_KEY_BYTES_MIN = 16

FOREIGN_VARIABLES = re.compile(r"CHARGEHAND_(\w+_)?(SERVICE_(HOST|PORT)\w*|PORT(_\d+_(TCP|UDP)\w*)?)|CHARGEHAND_DATA")
"""Variables of this prefix that others set: Kubernetes for a service of this name, and our own benchmarks."""

TABLES: dict[str, dict[str, str]] = {
    "environments": {"approve": "how much asks a person there"},
    "principals": {"roles": "which roles the person has", "secret": "the hash that `chargehand principal` printed"},
    "mcp": {"servers": "the MCP servers behind the gateway; `chargehand mcp` checks this table and what is in it"},
}
"""Tables: ``[environments.NAME]`` and ``[principals.NAME]`` and the keys of each, and ``[mcp]``, which the gateway reads itself."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may decide: a name, the roles, and the hash of a secret."""

    name: str
    roles: frozenset[str]
    secret: str = field(repr=False)

    def knows(self, secret: str) -> bool:
        """Say whether this is the principal's secret, in the same time whether it is or not."""
        return secret_fits(secret, self.secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for this process, and in `origins` where each setting came from."""

    journal: str = "chargehand.db"
    environment: str = "development"
    workflows: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    approve: str = "declared"
    lease: float = _PACE.lease
    silent_after: float = _PACE.silent_after
    keep_loaded: int = _PACE.keep_loaded
    chain_key_file: str = ""
    redact: tuple[str, ...] = DEFAULT_REDACT
    chain_key_given: str | None = field(default=None, repr=False)
    principals: Mapping[str, Principal] = field(default_factory=dict)
    mcp: Mapping[str, Any] = field(default_factory=dict, repr=False)
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def pace(self) -> Pace:
        """Return how a carrier shall look around."""
        return Pace(lease=self.lease, silent_after=self.silent_after, keep_loaded=self.keep_loaded)

    def principal(self, name: str) -> Principal:
        """Return a configured principal. Raises `DecisionRefused` with the near name."""
        if name in self.principals:
            return self.principals[name]
        near = nearest(name, self.principals)
        configured = f"Configured are: {', '.join(sorted(self.principals))}." if self.principals else "No principals are configured."
        raise DecisionRefused(f"There is no principal {name!r}. " + (f"Did you mean {near!r}?" if near else configured))

    def host_key(self, name: str, secret: str) -> HostKey:
        """Return the key with which an application vouches for its users: a principal's name and roles, for whoever knows the secret.

        Raises `DecisionRefused` for an unknown principal or a secret that is not its own.
        """
        principal = self.principal(name)
        if not principal.knows(secret):
            raise DecisionRefused(f"That is not the secret of {name!r}. Nobody is vouched for.")
        return HostKey(name, principal.roles)

    def chain_key(self) -> bytes:
        """Return the key of the journal's hash chains, empty when none is configured. Raises `BadConfiguration`.

        The file is read here and not before: who only looks needs no key, and may not have it.
        """
        if self.chain_key_given is not None:
            return _checked_key(self.chain_key_given.encode(errors="surrogateescape"), CHAIN_KEY)
        if not self.chain_key_file:
            return b""
        try:
            return _checked_key(Path(self.chain_key_file).read_bytes(), f"The key in {self.chain_key_file}")
        except OSError as error:
            where = self.origins.get("chain_key_file", "chain_key_file")
            raise BadConfiguration(
                f"The chain key cannot be read: {self.chain_key_file!r}: {error.strerror}. {where} names this file."
            ) from error


def _checked_key(raw: bytes, where: str) -> bytes:
    """Return a key without the line break that an editor puts behind it. Never shows it."""
    key = raw.strip(b"\r\n")
    if len(key) < CHAIN_KEY_BYTES_MIN:
        raise BadConfiguration(f"{where} has {len(key)} bytes. Take at least {CHAIN_KEY_BYTES_MIN}, such as `openssl rand -hex 32` prints.")
    return key


def settings_from(
    *, options: Mapping[str, Any] | None = None, variables: Mapping[str, str] | None = None, start: Path | None = None
) -> Settings:
    """Return the settings of this process. Raises `BadConfiguration` that says file, key and the near name.

    Args:
        options: what the command line or the program says, by key; None counts as not said.
        variables: the environment variables, by default the process's own.
        start: where the search for the file begins, upwards; by default the current directory.
    """
    variables = os.environ if variables is None else variables
    _refuse_unknown_variables(variables)
    file = _found_file(variables, Path.cwd() if start is None else start)
    document = {} if file is None else _read(file)
    values, origins = _from_file(file, document)
    for setting in SETTINGS:
        text = variables.get(setting.variable)
        if text is not None:
            values[setting.key] = _checked(setting, _parsed(setting, text), setting.variable)
            origins[setting.key] = setting.variable
    for key, value in (options or {}).items():
        if value is not None:
            values[key] = _checked(BY_KEY[key], value, f"--{key.replace('_', '-')}")
            origins[key] = "option"
    environment = str(values.get("environment", BY_KEY["environment"].default))
    _of_environment(file, document, environment, values, origins)
    if CHAIN_KEY in variables:
        if origins.get("chain_key_file") == BY_KEY["chain_key_file"].variable:
            raise BadConfiguration(f"{CHAIN_KEY} and {BY_KEY['chain_key_file'].variable} are both set. Set one of them.")
        values["chain_key_given"] = variables[CHAIN_KEY]
    return Settings(**values, principals=_principals(file, document), mcp=_mcp(file, document), file=file, origins=origins)


# -- the file ----------


def _found_file(variables: Mapping[str, str], start: Path) -> Path | None:
    named = variables.get("CHARGEHAND_CONFIG")
    if named:
        path = Path(named).expanduser().resolve()
        if not _is_file(path):
            raise BadConfiguration(
                f"There is no configuration file {str(path)!r} that could be read. --config and CHARGEHAND_CONFIG name a TOML file."
            )
        return path
    for folder in (start.resolve(), *start.resolve().parents):
        if _is_file(folder / FILE):
            return _not_planted(folder / FILE)
        if _is_file(folder / PYPROJECT) and _section(_toml(folder / PYPROJECT), folder / PYPROJECT) is not None:
            return _not_planted(folder / PYPROJECT)
    return None


def _not_planted(file: Path) -> Path:
    """Return a file that was found and not named, unless somebody else can have put it there.

    What it names is imported and decides who may approve, so a file that a stranger left in ``/tmp`` must not count.
    """
    if not hasattr(os, "geteuid"):
        return file
    whose, folder = file.stat(), file.parent.stat()
    if whose.st_uid not in (os.geteuid(), 0) and (whose.st_mode | folder.st_mode) & stat.S_IWOTH:
        raise BadConfiguration(
            f"{file} belongs to another user and lies where everybody may write, so it is not taken just because it is found. "
            "Name it with --config or CHARGEHAND_CONFIG if it is right."
        )
    return file


def _is_file(path: Path) -> bool:
    """Say whether a file is there; what may not be looked at is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def _toml(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise BadConfiguration(f"{file} has more than {FILE_BYTES_MAX:,} bytes, which is no configuration.")
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfiguration(f"{file} cannot be read: {error.strerror}.") from error
    except RecursionError as error:
        raise BadConfiguration(f"{file} is nested too deep.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{file} is not TOML: {error}.") from error


def _section(document: Mapping[str, Any], file: Path) -> dict[str, Any] | None:
    tool = document.get("tool")
    section = tool.get("chargehand") if isinstance(tool, dict) else None
    if section is not None and not isinstance(section, dict):
        raise BadConfiguration(f"{file}: tool.chargehand is no table: {section!r}. Write [tool.chargehand].")
    return section


def _read(file: Path) -> dict[str, Any]:
    document = _toml(file)
    return (_section(document, file) or {}) if file.name == PYPROJECT else document


def _from_file(file: Path | None, document: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, value in document.items():
        if key in TABLES:
            continue
        if key not in BY_KEY or key == "approve":
            if key == "approve":
                raise BadConfiguration(f"{file}: 'approve' belongs to an environment. Write [environments.NAME] approve = {value!r}.")
            if key == "chain_key":
                raise BadConfiguration(
                    f'{file}: the chain key itself does not belong into this file. Write chain_key_file = "PATH" of a file that holds it.'
                )
            raise BadConfiguration(_unknown(f"{file}", key, [*(set(BY_KEY) - {"approve"}), *TABLES]))
        values[key] = _checked(BY_KEY[key], value, f"{file}: {key}")
        origins[key] = str(file)
    if "journal" in values and file is not None:
        values["journal"] = beside(values["journal"], file.parent)
    if "chain_key_file" in values and file is not None:
        values["chain_key_file"] = str(file.parent / Path(values["chain_key_file"]).expanduser())
    return values, origins


def beside(journal: str, folder: Path) -> str:
    """Return a journal that a file in `folder` names: a relative file lies beside that file."""
    if journal == "memory:" or ("://" in journal and not journal.startswith("sqlite:///")):
        return journal
    path = Path(journal.removeprefix("sqlite:///")).expanduser()
    return str(path if path.is_absolute() else folder / path)


def _of_environment(
    file: Path | None, document: Mapping[str, Any], environment: str, values: dict[str, Any], origins: dict[str, str]
) -> None:
    """Take what the file says of the chosen environment. An environment that the file does not know is refused."""
    tables = _tables(file, document, "environments")
    if tables and environment not in tables and environment != BY_KEY["environment"].default:
        where = origins.get("environment", str(file))
        raise BadConfiguration(_unknown(where, environment, tables, what="environment", known_as=f"{file} declares"))
    said = {  # of every environment: a misspelt level of production is found where it is written, not when production starts
        name: _checked(BY_KEY["approve"], table["approve"], f"{file}: environments.{name}.approve")
        for name, table in tables.items()
        if "approve" in table
    }
    if environment in said and "approve" not in origins:
        values["approve"] = said[environment]
        origins["approve"] = str(file)


def _principals(file: Path | None, document: Mapping[str, Any]) -> dict[str, Principal]:
    found: dict[str, Principal] = {}
    for name, table in _tables(file, document, "principals").items():
        where = f"{file}: principals.{name}"
        roles, secret = table.get("roles", []), table.get("secret")
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise BadConfiguration(f"{where}.roles is no list of texts: {roles!r}.")
        if not isinstance(secret, str) or _hash_parts(secret) is None:
            raise BadConfiguration(f"{where}.secret is no hash of a secret. `chargehand principal {name}` prints one.")
        found[name] = Principal(name, frozenset(roles), secret)
    return found


def _mcp(file: Path | None, document: Mapping[str, Any]) -> Mapping[str, Any]:
    table = document.get("mcp", {})
    if not isinstance(table, dict):
        raise BadConfiguration(f"{file}: 'mcp' is no table. Write [mcp].")
    return table


def _tables(file: Path | None, document: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    tables = document.get(name, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise BadConfiguration(f"{file}: {name!r} holds tables only. Write [{name}.NAME].")
    for inner, table in tables.items():
        for key in table:
            if key not in TABLES[name]:
                raise BadConfiguration(_unknown(f"{file}: {name}.{inner}", key, TABLES[name]))
    return tables


# -- values ----------


def _parsed(setting: Setting, text: str) -> Any:
    """Make a value of an environment variable's text."""
    match setting.kind:
        case "list":
            return [part for part in re.split(r"[,\s]+", text) if part]
        case "seconds" | "count":
            try:
                return float(text) if setting.kind == "seconds" else int(text)
            except ValueError:
                return text
        case _:
            return text


def _checked(setting: Setting, value: Any, where: str) -> Any:
    fits, wants = False, ""
    match setting.kind:
        case "text":
            fits, wants = isinstance(value, str) and bool(value.strip()), "a text that is not empty"
        case "list":
            value = list(value) if isinstance(value, (list, tuple)) else value
            fits, wants = isinstance(value, list) and all(isinstance(item, str) and item for item in value), "a list of texts"
        case "seconds":
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= SECONDS_MAX
            wants = "a number of seconds above 0"
        case "count":
            fits, wants = (
                isinstance(value, int) and not isinstance(value, bool) and 0 < value <= COUNT_MAX,
                "a whole number above 0, below 2^31",
            )
        case "approve":
            fits, wants = value in APPROVE, "one of " + ", ".join(repr(word) for word in APPROVE)
    if not fits:
        raise BadConfiguration(f"{where} cannot be used: {value!r}. It is {wants}.")
    return tuple(value) if setting.kind == "list" else float(value) if setting.kind == "seconds" else value


def _refuse_unknown_variables(variables: Mapping[str, str]) -> None:
    known = {setting.variable for setting in SETTINGS} | VARIABLES_ONLY.keys()
    for name in variables:
        if name.startswith("CHARGEHAND_") and name not in known and not FOREIGN_VARIABLES.fullmatch(name):
            raise BadConfiguration(_unknown("the environment", name, known, what="variable"))


def _unknown(where: str, key: str, known: Iterable[str], *, what: str = "key", known_as: str = "Known are") -> str:
    near = nearest(key, known)
    hint = f"Did you mean {near!r}?" if near else f"{known_as}: {', '.join(sorted(known))}."
    return f"{where}: unknown {what} {key!r}. {hint}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like this one, None when none is."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


# -- secrets ----------


_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**15, 8, 3
"""Cost of a hash: 32 MB and about a quarter of a second (OWASP Password Storage Cheat Sheet, scrypt, third choice)."""


def hash_secret(secret: str, *, n: int = _SCRYPT_N) -> str:
    """Return ``scrypt$n$r$p$salt$hash`` for the configuration file."""
    salt = dice.token_bytes(16)
    digest = _scrypt(secret, salt, n, _SCRYPT_R, _SCRYPT_P)
    return "$".join(["scrypt", str(n), str(_SCRYPT_R), str(_SCRYPT_P), _text(salt), _text(digest)])


def secret_fits(secret: str, hashed: str) -> bool:
    """Say whether a secret gives this hash."""
    parts = _hash_parts(hashed)
    if parts is None:
        return False
    n, r, p, salt, digest = parts
    return hmac.compare_digest(_scrypt(secret, salt, n, r, p), digest)


def _scrypt(secret: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _hash_parts(hashed: str) -> tuple[int, int, int, bytes, bytes] | None:
    fields = hashed.split("$")
    if len(fields) != 6 or fields[0] != "scrypt":
        return None
    try:
        n, r, p = (int(number) for number in fields[1:4])
        salt, digest = (base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in fields[4:])
    except ValueError:
        return None
    sound = 2 <= n <= 2**20 and n & (n - 1) == 0 and 1 <= r <= 32 and 1 <= p <= 16 and len(salt) >= 8 and len(digest) == 32
    return (n, r, p, salt, digest) if sound else None
