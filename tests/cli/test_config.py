"""Configuration: file, variables, options; every unknown name refused with the near one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from chargehand.config import SETTINGS, TABLES, VARIABLES_ONLY, Settings, beside, hash_secret, nearest, secret_fits, settings_from
from chargehand.errors import BadConfiguration

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def settings(text: str = "", name: str = "chargehand.toml", variables: dict[str, str] | None = None, **options: object) -> Settings:
    """Return the settings with this file in the current directory."""
    if text:
        Path(name).write_text(text)
    return settings_from(options=options, variables=variables or {})


def refused(text: str = "", name: str = "chargehand.toml", variables: dict[str, str] | None = None, **options: object) -> str:
    """Return why settings are refused."""
    with pytest.raises(BadConfiguration) as caught:
        settings(text, name, variables, **options)
    return caught.value.message


def test_without_anything_the_defaults_hold() -> None:
    """Nothing needs to be configured for a first run."""
    assert settings() == Settings()


def test_options_are_over_variables_over_the_file() -> None:
    """Each place counts over the one before, and it is known which one it was."""
    text = 'journal = "file.db"\nenvironment = "one"\nlease = 5\nworkflows = ["a:b"]\n'
    found = settings(text, variables={"CHARGEHAND_JOURNAL": "variable.db", "CHARGEHAND_LEASE": "7"}, journal="option.db", environment=None)
    assert (found.journal, found.lease, found.environment, found.workflows) == ("option.db", 7.0, "one", ("a:b",))
    assert (found.origins["journal"], found.origins["lease"]) == ("option", "CHARGEHAND_LEASE")
    assert found.origins["environment"] == str(found.file)


def test_the_table_in_pyproject_is_the_same(tmp_path: Path) -> None:
    """[tool.chargehand] in pyproject.toml takes what chargehand.toml takes; a pyproject.toml without it is passed over."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.chargehand]\nenvironment = "one"\n[tool.chargehand.environments.one]\napprove = "final"\n'
    )
    below = tmp_path / "package" / "inner"
    below.mkdir(parents=True)
    (tmp_path / "package" / "pyproject.toml").write_text('[project]\nname = "x"\n')
    found = settings_from(variables={}, start=below)
    assert (found.environment, found.approve) == ("one", "final")
    (tmp_path / "chargehand.toml").write_text("")
    assert settings_from(variables={}, start=below).environment == "development"


def test_what_is_said_of_another_environment_is_checked_too() -> None:
    """A misspelt level of production is refused in development, where somebody reads it, and names its place."""
    text = '[environments.prod]\napprove = "evry"\n'
    assert "environments.prod.approve cannot be used: 'evry'" in refused(text)
    assert settings(text.replace("evry", "every")).approve == "declared"


def test_an_unknown_variable_is_called_so_once() -> None:
    """The message says where and what, and the near name."""
    said = refused(variables={"CHARGEHAND_JORNAL": "x"})
    assert said == "the environment: unknown variable 'CHARGEHAND_JORNAL'. Did you mean 'CHARGEHAND_JOURNAL'?"


def test_a_relative_journal_lies_beside_its_file(tmp_path: Path) -> None:
    """The same file names the same journal from wherever a command is started."""
    (tmp_path / "chargehand.toml").write_text('journal = "work.db"\n')
    below = tmp_path / "below"
    below.mkdir()
    assert settings_from(variables={}, start=below).journal == str(tmp_path / "work.db")
    assert beside("memory:", tmp_path) == "memory:"
    assert beside("/x/y.db", tmp_path) == "/x/y.db"
    assert beside("sqlite:///z.db", tmp_path) == str(tmp_path / "z.db")
    assert beside("postgresql://host/db", tmp_path) == "postgresql://host/db"


def test_another_file_may_be_named(tmp_path: Path) -> None:
    """CHARGEHAND_CONFIG names the file, wherever it lies."""
    (tmp_path / "other.toml").write_text('environment = "elsewhere"\n')
    assert settings(variables={"CHARGEHAND_CONFIG": str(tmp_path / "other.toml")}).environment == "elsewhere"
    assert "missing.toml" in refused(variables={"CHARGEHAND_CONFIG": "missing.toml"})


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ('jurnal = "x"', "unknown key 'jurnal'. Did you mean 'journal'?"),
        ('[environment.production]\napprove = "every"', "environment cannot be used"),
        ('[environments.production]\naprove = "every"', "environments.production: unknown key 'aprove'. Did you mean 'approve'?"),
        ("[principals.eve]\nrole = []", "principals.eve: unknown key 'role'. Did you mean 'roles'?"),
        ("zzz = 1", "unknown key 'zzz'. Known are: chain_key_file, environment, environments, journal"),
        ('approve = "every"', "belongs to an environment"),
    ],
)
def test_an_unknown_key_is_refused_with_the_near_name(text: str, near: str) -> None:
    """A setting that nobody knows is never ignored: the message names file, key and the nearest known name."""
    message = refused(text)
    assert "chargehand.toml" in message
    assert near in message


def test_an_unknown_variable_is_refused() -> None:
    """A misspelt variable is refused; those that Kubernetes sets for a service of this name are not ours."""
    assert "Did you mean 'CHARGEHAND_ENVIRONMENT'?" in refused(variables={"CHARGEHAND_ENVIROMENT": "production"})
    foreign = ["CHARGEHAND_SERVICE_HOST", "CHARGEHAND_PORT", "CHARGEHAND_PORT_80_TCP_ADDR", "CHARGEHAND_WORKER_SERVICE_PORT_HTTP"]
    assert settings(variables=dict.fromkeys(foreign, "x")) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("journal = 5", "journal cannot be used: 5. It is a text"),
        ('journal = ""', "a text that is not empty"),
        ("lease = 0", "a number of seconds above 0"),
        ("lease = true", "a number of seconds above 0"),
        ("lease = inf", "a number of seconds above 0"),
        ("keep_loaded = 1.5", "a whole number above 0"),
        (f"keep_loaded = {10**300}", "a whole number above 0"),
        (f"lease = {10**400}", "a number of seconds above 0"),
        ('workflows = "a:b"', "a list of texts"),
        ('redact = ["a", 1]', "a list of texts"),
        ('[environments.development]\napprove = "never"', "one of 'declared', 'final', 'every'"),
        ("environments = 5", "holds tables only"),
        ('[principals.eve]\nroles = "boss"\nsecret = "x"', "no list of texts"),
        ('[principals.eve]\nroles = []\nsecret = "plain"', "no hash of a secret"),
        ("journal = ", "is not TOML"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(text: str, told: str) -> None:
    """The message says file, key, value and what it should be."""
    message = refused(text)
    assert "chargehand.toml" in message
    assert told in message


@pytest.mark.parametrize(("name", "value"), [("CHARGEHAND_LEASE", "soon"), ("CHARGEHAND_KEEP_LOADED", "-1"), ("CHARGEHAND_APPROVE", "x")])
def test_a_variable_of_the_wrong_kind_is_refused(name: str, value: str) -> None:
    """A variable is checked like the file and named in the message."""
    assert f"{name} cannot be used: " in refused(variables={name: value})


def test_a_list_in_a_variable_is_separated_by_commas_or_spaces() -> None:
    """What is a list in the file is one line in a variable."""
    assert settings(variables={"CHARGEHAND_WORKFLOWS": "a:b, c:d  e:f"}).workflows == ("a:b", "c:d", "e:f")
    assert settings(variables={"CHARGEHAND_REDACT": ""}).redact == ()


def test_each_environment_has_its_level_of_approval() -> None:
    """What asks a person depends on the environment, and variables and options are over it."""
    text = '[environments.production]\napprove = "every"\n[environments.staging]\n'
    assert settings(text, environment="production").approve == "every"
    assert settings(text, environment="staging").approve == settings(text).approve == "declared"
    assert settings(text, variables={"CHARGEHAND_APPROVE": "final"}, environment="production").approve == "final"
    assert settings(text, environment="production", approve="declared").approve == "declared"


def test_an_environment_that_the_file_does_not_know_is_refused() -> None:
    """A misspelt production would be an environment of its own, without production's rules."""
    text = '[environments.production]\napprove = "every"\n'
    assert "Did you mean 'production'?" in refused(text, environment="prodution")
    assert "declares: production" in refused(text, variables={"CHARGEHAND_ENVIRONMENT": "qa"})


def test_a_secret_fits_its_hash_and_no_other() -> None:
    """Hashes are salted, so equal secrets have different ones; nothing else fits, and a broken hash fits nothing."""
    first, second = hash_secret("correct horse", n=2**4), hash_secret("correct horse", n=2**4)
    assert first != second
    assert secret_fits("correct horse", first)
    assert not secret_fits("wrong horse", first)
    assert not secret_fits("", first)
    for broken in ("", "x", "scrypt$3$8$1$AAAAAAAAAAAA$AAAA", first.replace("$16$", "$17$"), first.rpartition("$")[0] + "$!!"):
        assert not secret_fits("correct horse", broken)


def test_the_default_hash_is_costly() -> None:
    """A hash as the command prints it has the cost that is documented, and fits."""
    hashed = hash_secret("correct horse")
    assert hashed.startswith("scrypt$32768$8$3$")
    assert secret_fits("correct horse", hashed)


KEY = "0123456789abcdef" * 2


def test_the_chain_key_comes_from_a_file_or_a_variable(tmp_path: Path) -> None:
    """The file names a file that holds the key, beside itself; a variable names another, or is the key. Nothing shows it."""
    (tmp_path / "one.key").write_text(KEY + "\n")
    (tmp_path / "two.key").write_bytes(b"\x00" * 16)
    assert settings().chain_key() == b""
    text = 'chain_key_file = "one.key"\n'
    found = settings(text)
    assert (found.chain_key_file, found.chain_key()) == (str(tmp_path / "one.key"), KEY.encode())
    assert settings(text, variables={"CHARGEHAND_CHAIN_KEY_FILE": "two.key"}).chain_key() == bytes(16)
    given = settings(text, variables={"CHARGEHAND_CHAIN_KEY": KEY[::-1]})
    assert given.chain_key() == KEY[::-1].encode()
    assert settings("lease = 5", variables={"CHARGEHAND_CHAIN_KEY": "\udcff" * 16}).chain_key() == b"\xff" * 16
    assert KEY[::-1] not in repr(given)


def test_a_chain_key_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """A key in the configuration file, two keys, a short one and a file that is not there are each refused, without showing the key."""
    message = refused(f'chain_key = "{KEY}"\n')
    assert "Write chain_key_file" in message
    assert KEY not in message
    both = {"CHARGEHAND_CHAIN_KEY": KEY, "CHARGEHAND_CHAIN_KEY_FILE": "x"}
    assert "are both set" in refused("lease = 5", variables=both)
    (tmp_path / "short.key").write_text("geheim\n")
    for found, told in (
        (settings("lease = 5", variables={"CHARGEHAND_CHAIN_KEY": "geheim"}), "CHARGEHAND_CHAIN_KEY has 6 bytes. Take at least 16"),
        (settings("lease = 5", variables={"CHARGEHAND_CHAIN_KEY": ""}), "CHARGEHAND_CHAIN_KEY has 0 bytes"),
        (settings('chain_key_file = "short.key"'), "short.key has 6 bytes"),
        (settings('chain_key_file = "gone.key"'), "gone.key': No such file or directory"),
    ):
        with pytest.raises(BadConfiguration) as caught:
            found.chain_key()
        assert told in caught.value.message
        assert "geheim" not in caught.value.message


def test_the_nearest_name_is_near() -> None:
    """A name that is like none has no near one."""
    assert nearest("zzz", ["journal"]) is None


def test_the_page_has_a_heading_for_each_setting() -> None:
    """docs/configuration.md describes every setting and table with its variable, and no other."""
    text = PAGE.read_text()
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == {setting.key for setting in SETTINGS} | set(TABLES)
    for setting in SETTINGS:
        assert setting.variable in sections[setting.key]
        assert "Default:" in sections[setting.key]
    for name in VARIABLES_ONLY:
        assert name in text
    for table, keys in TABLES.items():
        assert all(f"`{key}`" in sections[table] for key in keys)


def test_only_the_variables_given_are_read() -> None:
    """The process's own variables are what counts when none are given."""
    os.environ["CHARGEHAND_ENVIRONMENT"] = "from-the-process"
    try:
        assert settings_from().environment == "from-the-process"
    finally:
        del os.environ["CHARGEHAND_ENVIRONMENT"]
