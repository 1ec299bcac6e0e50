"""Files: who may read what lies on the disk, and what links, pipes and strangers' files in a directory can do."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chargehand import Supervisor, workflow
from chargehand.config import _not_planted, settings_from
from chargehand.errors import BadConfiguration, JournalError

from .conftest import Command, names_in

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")


@workflow(name="security.files")
async def flow(n: int) -> int:
    return n


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o027])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set the process's umask for a test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of the files in a directory."""
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir() if path.is_file()}


@pytest.mark.usefixtures("umask")
async def test_the_journal_and_what_lies_beside_it_are_private(tmp_path: Path) -> None:
    """Whatever the umask: the file, the write-ahead log, its index, the turn and the workers' files are their owner's alone."""
    async with Supervisor(str(tmp_path / "j.db"), [flow]) as supervisor:
        await (await supervisor.start(flow(1))).result()
        found = modes(tmp_path)
    assert {name.partition("-worker-")[0] for name in found} == {"j.db", "j.db-wal", "j.db-shm", "j.db-turn"}
    assert any("-worker-" in name for name in found)
    assert set(found.values()) == {0o600}, found


@pytest.mark.usefixtures("umask")
def test_what_commands_write_is_private(cli: Command, shop: Command, tmp_path: Path) -> None:
    """An export, the heads and the results of a batch hold what the journal holds, so they are as private."""
    shop("pay", 50, id="p-1")
    Path("items.jsonl").write_text('{"a": 1}\n')
    cli("export", "--out", "export.jsonl")
    cli("export", "--heads", "--out", "heads.jsonl")
    assert cli("run", shop_flow("add"), "--each", "items.jsonl", "--out", "results.jsonl").status == 0
    found = modes(tmp_path)
    assert {found[name] for name in ("export.jsonl", "heads.jsonl", "results.jsonl")} == {0o600}
    assert not [name for name in names_in(tmp_path) if "part" in name]


def shop_flow(name: str) -> str:
    """Return the reference of a workflow of the command line's tests."""
    return f"{Path(__file__).parents[1] / 'cli' / 'flows' / 'shop.py'}:{name}"


def test_an_older_files_openness_does_not_stay(cli: Command, shop: Command) -> None:
    """A file that was there and readable by all is replaced by a private one."""
    shop("add", {"a": 1})
    Path("out.jsonl").write_text("old")
    Path("out.jsonl").chmod(0o666)
    cli("export", "--out", "out.jsonl")
    assert stat.S_IMODE(Path("out.jsonl").stat().st_mode) == 0o600


def test_a_link_in_the_place_of_an_export_is_replaced(cli: Command, shop: Command) -> None:
    """An export goes to the name that was given, never through a link that somebody left there, and no name before can be foreseen."""
    shop("add", {"a": 1})
    for name in ("out.jsonl", "out.jsonl.part", ".out.jsonl.part"):
        Path(f"victim of {name}").write_text("precious")
        Path(name).symlink_to(f"victim of {name}")
    assert cli("export", "--out", "out.jsonl").status == 0
    assert not Path("out.jsonl").is_symlink()
    assert {path.read_text() for path in Path().glob("victim of *")} == {"precious"}


def test_a_failed_export_leaves_the_old_file(cli: Command, shop: Command, tmp_path: Path) -> None:
    """A file appears whole or not at all; what was there stays when the export fails."""
    shop("add", {"a": 1}, id="a-1")
    Path("out.jsonl").write_text("precious")
    assert cli("export", "a-1", "nobody", "--out", "out.jsonl").status == 6
    assert Path("out.jsonl").read_text() == "precious"
    assert not [name for name in names_in(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize("beside", ["-wal", "-shm", "-journal"])
async def test_links_beside_the_journal_are_not_followed(tmp_path: Path, beside: str) -> None:
    """SQLite's side files are never written through a link: the run goes on without, or the journal is refused by name."""
    victim = tmp_path / "victim"
    victim.write_text("precious" * 100)
    (tmp_path / f"j.db{beside}").symlink_to(victim)
    with suppress(JournalError):  # nothing else may be raised
        async with Supervisor(str(tmp_path / "j.db"), [flow]) as supervisor:
            await (await supervisor.start(flow(1))).result()
    assert victim.read_text() == "precious" * 100


async def test_a_workers_file_is_always_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker makes its own file and takes none that is there, not even by a link to it."""
    drawn = iter(["taken", "free"])
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"j.db-worker-{os.getpid()}-taken").symlink_to(victim)
    monkeypatch.setattr("chargehand.journals.workers.secrets.token_hex", lambda n: next(drawn))
    async with Supervisor(str(tmp_path / "j.db"), [flow]) as supervisor:
        assert supervisor.site.worker.endswith("-free")
    assert victim.read_text() == "precious"


def test_doctor_says_when_others_have_access(cli: Command, shop: Command) -> None:
    """A journal that was made by something else, or opened up by hand, is noticed."""
    shop("add", {"a": 1})
    Path("chargehand.db").chmod(0o644)
    said = next(one for one in cli("doctor", "--json").json["findings"] if "access" in one["says"])
    assert (said["level"], "644" in said["says"]) == ("look", True)


# -- a configuration that a stranger left ----------


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["chargehand.toml", "pyproject.toml"])
@pytest.mark.parametrize(("owner", "folder_mode", "taken"), [(4711, 0o1777, False), (4711, 0o755, True), (0, 0o1777, True)])
def test_a_strangers_configuration_is_not_found(tmp_path: Path, name: str, owner: int, folder_mode: int, taken: bool) -> None:
    """What a stranger left in a directory like /tmp does not count for whoever works below it, unless it is named."""
    file = tmp_path / name
    file.write_text('[tool.chargehand]\nenvironment = "production"\n' if name == "pyproject.toml" else 'environment = "production"\n')
    os.chown(file, owner, owner)
    tmp_path.chmod(folder_mode)
    (tmp_path / "work").mkdir()
    if taken:
        assert settings_from(variables={}, start=tmp_path / "work").environment == "production"
        return
    with pytest.raises(BadConfiguration, match="belongs to another user"):
        settings_from(variables={}, start=tmp_path / "work")
    assert settings_from(variables={"CHARGEHAND_CONFIG": str(file)}, start=tmp_path / "work").environment == "production"


def test_ones_own_configuration_counts_anywhere(tmp_path: Path) -> None:
    """A file of one's own is taken also from a directory that all may write to."""
    tmp_path.chmod(0o1777)
    (tmp_path / "chargehand.toml").write_text("")
    assert _not_planted(tmp_path / "chargehand.toml") == tmp_path / "chargehand.toml"


def test_the_journal_cannot_be_something_else(cli: Command, tmp_path: Path) -> None:
    """A directory, a pipe or a device in the journal's place is refused by name, and soon."""
    (tmp_path / "folder.db").mkdir()
    for name in ("folder.db", "/dev/null", "no/such/place.db"):
        said = cli("runs", "--journal", name)
        assert (said.status, name in said.err) == (5, True), said
