"""The configuration: what it takes, what it refuses, and what it prints."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from syncd import config, errors
from syncd.config import units

ROOT = Path(__file__).parents[2]
NAMELESS = {"HOME": "/home/nobody"}


def write(folder: Path, text: str) -> Path:
    """Make a configuration file."""
    file = folder / "given.toml"
    file.write_text(text)
    return file


def problems(path: Path | None, environ: Mapping[str, str] = NAMELESS) -> list[str]:
    """Load what is wrong and give the complaints."""
    with pytest.raises(errors.ConfigurationError) as caught:
        config.load(path, environ)
    return caught.value.problems


# --- values


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (17, 17),
        ("17", 17),
        ("1MiB", 1024**2),
        ("1mib", 1024**2),
        ("500 kB", 500_000),
        ("1.5GiB", 3 * 1024**3 // 2),
        ("2TB", 2 * 10**12),
    ],
)
def test_a_size_may_have_a_unit(text: object, size: int) -> None:
    """Decimal and binary units, in any case, with or without a space; a bare number is bytes."""
    assert size == units.parse_size(text)


@pytest.mark.parametrize("text", ["", "MiB", "1 XB", "-1", -1, True, "1MiB2", 1.5j, None, "1e6"])
def test_a_size_that_is_none_is_refused(text: object) -> None:
    """The complaint shows how a size is written."""
    with pytest.raises(ValueError, match="a size is written like"):
        units.parse_size(text)


@given(st.integers(min_value=0, max_value=2**60))
def test_a_size_is_written_so_that_it_reads_back_the_same(size: int) -> None:
    """Showing a configuration loses nothing."""
    assert size == units.parse_size(units.format_size(size))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("14d", 1_209_600), ("2w", 1_209_600), ("0s", 0)],
)
def test_a_duration_has_a_unit(text: str, seconds: int) -> None:
    """Weeks to seconds, alone or one after another."""
    assert timedelta(seconds=seconds) == units.parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", 5, "m", "5 m", "-5m", "5x", "5mm", None])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    """Nobody has to guess whether 5 means seconds or minutes."""
    with pytest.raises(ValueError, match="a duration is written like"):
        units.parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_is_written_so_that_it_reads_back_the_same(seconds: int) -> None:
    """Showing a configuration loses nothing."""
    duration = timedelta(seconds=seconds)

    assert duration == units.parse_duration(units.format_duration(duration))


MONDAY, SATURDAY, SUNDAY = 0, 5 * 1440, 6 * 1440  # minutes of the week


@pytest.mark.parametrize(
    ("value", "minute", "limit"),
    [
        ("50MiB", MONDAY, 50 * 2**20),
        ("500 kB", SUNDAY + 1439, 500_000),
        (1000, 17, 1000),
        ("off", 17, None),
        ("08:00,10MiB 18:00,off", MONDAY + 479, None),
        ("08:00,10MiB 18:00,off", MONDAY + 480, 10 * 2**20),
        ("08:00,10MiB 18:00,off", SATURDAY + 1079, 10 * 2**20),
        ("08:00,10MiB 18:00,off", SUNDAY + 1080, None),
        ("18:00,off 8:00,10MiB", MONDAY + 600, 10 * 2**20),
        ("Sat-00:00,off mon-08:00,1kB", MONDAY, None),
        ("Sat-00:00,off mon-08:00,1kB", MONDAY + 480, 1000),
        ("Sat-00:00,off mon-08:00,1kB", SATURDAY - 1, 1000),
        ("Sat-00:00,off mon-08:00,1kB", SUNDAY, None),
        ("00:00,1kB Sun-00:00,2kB", SUNDAY, 2000),
        ("00:00,1kB Sun-00:00,2kB", MONDAY, 1000),
    ],
)
def test_a_bandwidth_is_a_size_or_a_timetable(
    value: object, minute: int, limit: int | None
) -> None:
    """Before the week's first step the last of the week before holds."""
    bandwidth = units.parse_bandwidth(value)

    assert bandwidth.at(minute) == limit
    assert units.parse_bandwidth(str(bandwidth)) == bandwidth


def test_every_mistake_of_a_timetable_is_told() -> None:
    """Not only the first one."""
    with pytest.raises(ValueError, match="is written like") as caught:
        units.parse_bandwidth("08:00 Foo-09:00,1MiB 10:00,1MiB 25:00,off 11:00,x 12:00,0 13:00,")

    told = str(caught.value).split("; ")
    assert [text.split(": ")[0] for text in told] == [
        "'08:00'", "'Foo-09:00,1MiB'", "'25:00,off'", "'11:00,x'", "'12:00,0'", "'13:00,'",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [True, "", "-1MiB", "08:00", ",", ":", None, [], "Mon-1MiB"])
def test_what_is_no_bandwidth_is_refused(value: object) -> None:
    """With the right spelling."""
    with pytest.raises(ValueError, match="is written like"):
        units.parse_bandwidth(value)


def test_the_bandwidth_of_now_is_that_of_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timetable is for the people of the place."""
    bandwidth = units.parse_bandwidth("08:00,10MiB 18:00,off")
    for hour, limit in ((7, None), (8, 10 * 2**20), (17, 10 * 2**20), (18, None)):
        local = time.struct_time((2026, 11, 24, hour, 0, 0, 1, 328, 0))
        monkeypatch.setattr(time, "localtime", lambda local=local: local)
        assert bandwidth.now() == limit


@pytest.mark.parametrize("text", ["50MiB", "08:00,10MiB 18:00,off", "Mon-08:00,512KiB", "off"])
def test_a_bandwidth_can_be_set_anywhere_and_is_shown_as_it_was(text: str, tmp_path: Path) -> None:
    """In the file and in the environment."""
    file = write(tmp_path, f'[transfer]\nbandwidth_limit = "{text}"\n')
    by_file = config.read(file, NAMELESS)
    by_variable = config.read(None, NAMELESS | {"SYNCD_TRANSFER__BANDWIDTH_LIMIT": text})

    assert by_file.config == by_variable.config
    assert str(by_file.config.transfer.bandwidth_limit) == text
    assert f'bandwidth_limit = "{text}"' in config.show(by_file)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("wandb.base_url", "api.wandb.ai", "must be an http:// or https:// URL"),
        ("wandb.base_url", "https://me:pw@host", "must not hold a user or password"),
        ("wandb.base_url", "https://host?x=1", "must not hold ? or #"),
        ("wandb.base_url", "https://host:99999", "port out of range"),
        ("wandb.projects", ["vision"], "'vision' is not a target"),
        ("wandb.projects", ["e/p/c"], "names a collection"),
        ("wandb.projects", "e/p", "must be a list"),
        ("oxen.url", "ftp://host", "must be https://host"),
        ("oxen.url", "file://relative/folder", "a file URL names an absolute folder"),
        ("oxen.url", "file:///", "a file URL names an absolute folder"),
        ("oxen.namespace", "a/b", "letters, digits, dot, dash and underscore"),
        ("oxen.repo", "", "a repository name holds"),
        ("oxen.repo", "{project}/{collection}", "a repository name holds"),
        ("oxen.repo", "{projekt}", "{projekt} is not a field"),
        ("oxen.repo", "{project.x}", "is not a field"),
        ("oxen.repo", "{project!r}", "is not a field"),
        ("oxen.repo", "{project", "is not a template"),
        ("oxen.path", "/{collection}", "empty, absolute"),
        ("oxen.path", "a/../b", "empty, absolute"),
        ("oxen.branch", "", "is not a branch name"),
        ("oxen.branch", "a b", "is not a branch name"),
        ("oxen.branch", "wandb/v0", "where the branches of versions are"),
        ("oxen.branch", "wandb/{version}", "where the branches of versions are"),
        ("oxen.branch", "new/wandb/{version}", "where the branches of versions are"),
        ("oxen.branch", "new/{versio}", "{versio} is not a field"),
        ("oxen.branch", "new/{collection}", "needs {version}"),
        ("oxen.branch", "{version}", "begins with a plain folder"),
        ("oxen.branch", "{collection}/{version}", "begins with a plain folder"),
        ("oxen.branch", "new/..{version}", "is not a branch name"),
        ("oxen.branch", "new/{version", "is not a template"),
        ("oxen.main", "a b", "is not a branch name"),
        ("select.keep", [""], "a pattern must not be empty"),
        ("select.keep", ["/media/**"], "begins with /"),
        ("select.exclude.types", "job", "must be a list"),
        ("references.base_url", "file:///x", "must be an http:// or https:// URL"),
        ("reclaim.policy", "all", "'none', 'ttl' or 'delete'"),
        ("reclaim.max_per_day", -1, "greater than or equal to 0"),
        ("schedule.poll", "0s", "longer than zero"),
        ("transfer.concurrency", 0, "greater than or equal to 1"),
        ("transfer.concurrency", "many", "integer"),
        ("transfer.bandwidth_limit", "fast", "a size is written like"),
        ("transfer.bandwidth_limit", 0, "nothing would ever move at 0"),
        ("transfer.bandwidth_limit", "24:00,1MiB", "from 00:00 to 23:59"),
        ("engine.database", "mysql://host/db", "must be sqlite:///file or postgresql://"),
        ("engine.database", "sqlite://file", "three slashes"),
        ("engine.database", "postgresql://host", "must be sqlite:///file or postgresql://"),
        ("web.bind", "8337", "must be host:port"),
        ("web.bind", "::1:8337", "stands in brackets"),
        ("web.bind", "localhost:65536", "at most 65535"),
        ("log.level", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_mistaken_value_is_told_with_its_key_path(
    key: str, value: object, complaint: str, tmp_path: Path
) -> None:
    """One mistake, one sentence: which key, and what it wants."""
    section, _, name = key.rpartition(".")
    text = str(value).replace("'", '"') if isinstance(value, list) else repr(value)
    [problem] = problems(write(tmp_path, f"[{section}]\n{name} = {text}\n"))

    assert problem.startswith(key)
    assert complaint in problem


def test_candidates_of_one_repository_need_branches_that_tell_them_apart(tmp_path: Path) -> None:
    """Else one collection's v3 would take the other's branch."""
    keys = '[oxen]\nrepo = "all"\npath = "{project}/{collection}"\nbranch = '
    [problem] = problems(write(tmp_path, f'{keys}"new/{{collection}}/{{version}}"\n'))

    assert problem.startswith("oxen.branch")
    assert "needs {project}" in problem
    read = config.read(
        write(tmp_path, f'{keys}"new/{{project}}/{{collection}}/{{version}}"\n'), NAMELESS
    )
    assert read.config.oxen.has_candidates


# --- mistakes


def test_all_mistakes_of_all_sources_are_told_at_once(tmp_path: Path) -> None:
    """Nobody corrects a file mistake by mistake; a variable is named where it is to blame."""
    file = write(
        tmp_path,
        '[oxen]\nurl = "ftp://x"\n[wandb]\nbase_urll = "x"\nproject = []\n[log]\nlevel = 3\n',
    )
    found = problems(file, NAMELESS | {"SYNCD_TRANSFER__CONCURRENCY": "0", "SYNCD_WEBB__BIND": "x"})

    assert {
        "oxen.url",
        "wandb.base_urll",
        "wandb.project",
        "log.level",
        "transfer.concurrency (from SYNCD_TRANSFER__CONCURRENCY)",
        "webb (from SYNCD_WEBB__BIND)",
    } == {problem.partition(":")[0] for problem in found}


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("[wandb]\nbase_urll = 1", "wandb.base_urll: unknown key; did you mean wandb.base_url?"),
        ("[wandbb]\nx = 1", "wandbb: unknown key; did you mean wandb?"),
        ("[select.exclud]\ntypes = []", "did you mean select.exclude?"),
        ("[select.exclude]\ntype = []", "did you mean select.exclude.types?"),
        ("[engine]\nconcurrency = 1", "did you mean transfer.concurrency?"),
        ("[web]\nzzzzzz = 1", "web.zzzzzz: unknown key"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(text: str, suggestion: str, tmp_path: Path) -> None:
    """In the same table first, then in the others."""
    [problem] = problems(write(tmp_path, text))

    assert problem.endswith(suggestion)


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    """A file that is no TOML is told with the place."""
    file = write(tmp_path, '[wandb]\nbase_url = "https://x"\nprojects = [\n')
    [problem] = problems(file)

    assert problem.startswith(f"{file}: is not TOML: ")
    assert re.search(r"line \d", problem) or "end of document" in problem


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """By argument or by variable alike; only the usual places may be empty."""
    absent = tmp_path / "absent.toml"

    assert [f"{absent}: cannot be read: No such file or directory"] == problems(absent)
    assert problems(absent) == problems(None, NAMELESS | {"SYNCD_CONFIG": str(absent)})


def test_a_value_where_a_table_belongs_is_told(tmp_path: Path) -> None:
    """A section is never a number."""
    assert problems(write(tmp_path, "wandb = 3\n")) == ["wandb: must be a table"]


@pytest.mark.parametrize("content", [None, "", " \n", b"\xff\xfe"])
def test_a_secret_file_that_cannot_serve_is_told_before_any_work(
    content: str | bytes | None, tmp_path: Path
) -> None:
    """Missing, empty, blank, not text."""
    secret = tmp_path / "key"
    if content is not None:
        secret.write_bytes(content if isinstance(content, bytes) else content.encode())
    [problem] = problems(None, NAMELESS | {"SYNCD_WANDB__API_KEY_FILE": str(secret)})

    assert problem.startswith("wandb.api_key_file (from SYNCD_WANDB__API_KEY_FILE): ")
    assert str(secret) in problem


def test_a_mistaken_list_in_the_environment_is_told() -> None:
    """A list that begins as JSON must be JSON."""
    [problem] = problems(None, NAMELESS | {"SYNCD_SELECT__KEEP": '["open'})

    assert problem.startswith("select.keep (from SYNCD_SELECT__KEEP): is not a JSON list")


# --- sources


def test_the_environment_is_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    """And each key remembers who set it."""
    file = write(tmp_path, '[transfer]\nconcurrency = 7\nspool_limit = "2GiB"\n')
    loaded = config.read(file, NAMELESS | {"SYNCD_TRANSFER__CONCURRENCY": "9"})

    transfer = loaded.config.transfer
    assert (
        transfer.concurrency,
        transfer.spool_limit,
        transfer.bandwidth_limit,
    ) == (9, 2 * 1024**3, None)
    assert loaded.origins["transfer.concurrency"] == "SYNCD_TRANSFER__CONCURRENCY"
    assert str(file) == loaded.origins["transfer.spool_limit"]


def test_the_file_is_the_first_of_four_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Argument, variable, this folder, the user's own; else none."""
    monkeypatch.chdir(tmp_path)
    places = [
        tmp_path / "argument.toml",
        tmp_path / "variable.toml",
        Path("config.toml"),
        tmp_path / "home" / ".config" / "syncd" / "config.toml",
    ]
    environ = {"HOME": str(tmp_path / "home"), "SYNCD_CONFIG": str(places[1])}
    calls = [(places[0], environ), (None, environ), (None, {"HOME": environ["HOME"]})]
    for number, place in enumerate(places, start=1):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"[transfer]\nconcurrency = {number}\n")

    assert [config.load(*call).transfer.concurrency for call in calls] == [1, 2, 3]
    places[2].unlink()
    assert config.load(*calls[2]).transfer.concurrency == 4
    places[3].unlink()
    assert config.read(*calls[2]).file is None


@pytest.mark.parametrize("text", ["e/p,f/*", "e/p, f/*", '["e/p", "f/*"]'])
def test_a_list_in_the_environment_is_written_with_commas_or_as_json(text: str) -> None:
    """All three spellings are the same list."""
    found = config.load(None, NAMELESS | {"SYNCD_WANDB__PROJECTS": text})

    assert found.wandb.projects == ("e/p", "f/*")


def test_a_key_in_a_nested_table_can_be_set_in_the_environment() -> None:
    """Each level is one more `__`; its neighbours keep their defaults."""
    found = config.load(None, NAMELESS | {"SYNCD_SELECT__EXCLUDE__TAGS": "scratch"})

    assert found.select.exclude.tags == ("scratch",)
    assert "job" in found.select.exclude.types


def test_the_wandb_clients_own_address_is_the_default_one() -> None:
    """WANDB_API_KEY is never sent to another server than the wandb client would send it to."""
    environ = NAMELESS | {"WANDB_BASE_URL": "http://wandb.internal:8080/"}

    assert config.load(None, environ).wandb.base_url == "http://wandb.internal:8080"
    environ["SYNCD_WANDB__BASE_URL"] = "https://other"
    assert config.load(None, environ).wandb.base_url == "https://other"
    assert problems(None, NAMELESS | {"WANDB_BASE_URL": "x"})[0].startswith(
        "wandb.base_url (from WANDB_BASE_URL): "
    )


# --- defaults


def test_nothing_needs_to_be_configured() -> None:
    """The defaults in full: an embedded store, nothing reclaimed."""
    found = config.load(None, NAMELESS)

    assert Path("/home/nobody/.local/state/syncd") == found.engine.state_dir
    assert found.engine.database == "sqlite:////home/nobody/.local/state/syncd/syncd.db"
    assert Path("/home/nobody/.local/state/syncd/spool") == found.transfer.spool_dir
    assert Path("/home/nobody/.local/share/syncd/oxen") == found.oxen.directory
    assert found.references.base_url == "http://127.0.0.1:8337"
    assert found.web.address == ("127.0.0.1", 8337)
    assert found.reclaim.policy == "none"
    assert found.select.keep == ("*.table.json", "media/**")
    assert found.select.exclude.types == ("wandb-*", "run_table", "job", "code")


def test_deleting_the_state_folder_leaves_the_store() -> None:
    """State is a cache; the store is not."""
    for environ in (NAMELESS, NAMELESS | {"XDG_STATE_HOME": "/a", "XDG_DATA_HOME": "/b"}):
        found = config.load(None, environ)
        assert found.oxen.directory is not None
        assert not found.oxen.directory.is_relative_to(found.engine.state_dir)


def test_a_user_without_a_home_can_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container, any number may be the user's: what is named is used, the rest lies below /."""

    def homeless(_cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(homeless))
    monkeypatch.delenv("HOME", raising=False)
    environ = {"SYNCD_ENGINE__STATE_DIR": "/srv/syncd", "SYNCD_OXEN__URL": "file:///srv/oxen"}

    assert Path("/srv/syncd/spool") == config.load(None, environ).transfer.spool_dir
    assert config.load(None, {}).engine.state_dir == Path("/.local/state/syncd")
    with pytest.raises(errors.ConfigurationError, match="api_key_file"):
        config.wandb_api_key(config.load(None, environ), environ)


def test_database_and_spool_follow_the_state_folder() -> None:
    """One key moves all of the state."""
    found = config.load(None, NAMELESS | {"SYNCD_ENGINE__STATE_DIR": "/srv/syncd"})

    assert found.engine.database == "sqlite:////srv/syncd/syncd.db"
    assert Path("/srv/syncd/spool") == found.transfer.spool_dir
    found = config.load(None, NAMELESS | {"SYNCD_TRANSFER__SPOOL_DIR": "/fast"})
    assert Path("/fast") == found.transfer.spool_dir


@pytest.mark.parametrize(
    ("environ", "base_url"),
    [
        ({}, "http://127.0.0.1:8337"),
        ({"SYNCD_WEB__PUBLIC_URL": "https://d.example.com"}, "https://d.example.com"),
        ({"SYNCD_OXEN__URL": "https://hub.oxen.ai"}, "https://hub.oxen.ai"),
        (
            {"SYNCD_OXEN__URL": "https://hub.oxen.ai", "SYNCD_REFERENCES__BASE_URL": "http://g/"},
            "http://g",
        ),
    ],
)
def test_references_lead_to_whoever_serves_the_files(
    environ: dict[str, str], base_url: str
) -> None:
    """The gateway for a folder, the server otherwise, and what was said above all."""
    assert base_url == config.load(None, NAMELESS | environ).references.base_url


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "[::]:80"])
def test_references_to_every_address_are_refused(bind: str) -> None:
    """They would lead each machine to itself, and stand in W&B for good."""
    with pytest.raises(errors.ConfigurationError, match=r"references\.base_url: has to be named"):
        config.load(None, NAMELESS | {"SYNCD_WEB__BIND": bind})
    named = {"SYNCD_WEB__BIND": bind, "SYNCD_WEB__PUBLIC_URL": "https://d.example.com"}
    assert config.load(None, NAMELESS | named).references.base_url == "https://d.example.com"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://syncd:se/cret12@db/syncd",
        "postgresql://db/syncd?user=syncd&password=secret12",
    ],
)
def test_a_password_where_it_could_not_be_hidden_is_refused_without_it(url: str) -> None:
    """What is shown shows no password, however the driver would read the URL."""
    with pytest.raises(errors.ConfigurationError) as error:
        config.load(None, NAMELESS | {"SYNCD_ENGINE__DATABASE": url})
    assert "cret12" not in str(error.value)


@pytest.mark.parametrize("table", ["endpoints.live", "triggers.x", "wandbb"])
def test_an_empty_table_is_looked_at(table: str, tmp_path: Path) -> None:
    """Somebody meant something by it."""
    assert table in problems(write(tmp_path, f"[{table}]\n"))[0]


def test_projects_that_share_a_repository_are_warned_of() -> None:
    """Their collections may have the same name."""
    shared = {"SYNCD_OXEN__REPO": "{collection}", "SYNCD_WANDB__PROJECTS": "team/*"}
    found = config.load(None, NAMELESS | shared)
    assert any("use {project}" in line for line in config.warnings(found, NAMELESS))


def test_an_escaped_folder_url_names_the_real_folder() -> None:
    """A folder may have a space in its name."""
    found = config.load(None, NAMELESS | {"SYNCD_OXEN__URL": "file:///data/my%20oxen"})

    assert Path("/data/my oxen") == found.oxen.directory


def test_a_configuration_cannot_be_changed() -> None:
    """Everyone sees the same values."""
    found = config.load(None, NAMELESS)

    with pytest.raises(ValidationError, match="frozen"):
        found.transfer.concurrency = 9


# --- what it prints


def test_the_committed_sample_is_the_generated_one() -> None:
    """Regenerate with `make config.example.toml`."""
    assert config.example() == (ROOT / "config.example.toml").read_text()


def test_the_sample_changes_nothing(tmp_path: Path) -> None:
    """Copying the sample is a safe first step."""
    assert config.load(None, NAMELESS) == config.load(write(tmp_path, config.example()), NAMELESS)


def test_every_line_of_the_sample_may_be_uncommented(tmp_path: Path) -> None:
    """Defaults and examples are all valid; only the named secret files are missing here."""
    text = re.sub(r"^# (\w+ = |\[)", r"\1", config.example(), flags=re.MULTILINE)
    found = problems(write(tmp_path, text))

    assert text.count(" = ") > 30
    assert all("_file: cannot read" in problem for problem in found)


@pytest.mark.parametrize("text", [config.example(), config.reference()])
def test_every_key_is_documented_and_no_machine_is_named(text: str) -> None:
    """The sample and the reference fit everyone."""
    for section in config.document(config.load(None, NAMELESS)).values():
        assert all(key in text for key in section)
    assert str(Path.home()) not in text


def test_the_values_in_force_read_back_as_the_same_configuration(tmp_path: Path) -> None:
    """`config show` is a configuration file."""
    loaded = config.read(None, NAMELESS | {"SYNCD_OXEN__NAMESPACE": "acme"})
    text = config.show(loaded)

    assert 'namespace = "acme"  # SYNCD_OXEN__NAMESPACE\n' in text
    assert loaded.config == config.load(write(tmp_path, text), NAMELESS)


def test_tables_under_names_of_the_users_are_read_shown_and_checked(tmp_path: Path) -> None:
    """Endpoints and triggers, also from the environment; each is told in exactly one way."""
    text = """
[endpoints.search]
command = ["serve", "--live"]
[triggers.retrain]
url = "https://train.example"
types = ["dataset"]
"""
    environ = NAMELESS | {"SYNCD_ENDPOINTS__SEARCH__TIMEOUT": "1h"}
    loaded = config.read(write(tmp_path, text), environ)

    assert loaded.config.endpoints["search"].command == ("serve", "--live")
    assert loaded.config.triggers["retrain"].types == ("dataset",)
    shown = config.show(loaded)
    assert '[endpoints.search]\ncommand = ["serve", "--live"]' in shown
    assert 'timeout = "1h"  # SYNCD_ENDPOINTS__SEARCH__TIMEOUT' in shown
    assert loaded.config == config.load(write(tmp_path, shown), NAMELESS)
    mistaken = """
[endpoints.both]
command = ["serve"]
url = "https://serve.example"
[endpoints."a b"]
command = ["serve"]
[triggers.none]
tyeps = ["dataset"]
"""
    found = "\n".join(problems(write(tmp_path, mistaken)))
    assert "endpoints.both: needs exactly one of command, url" in found
    assert "a name holds letters" in found
    assert "triggers.none.tyeps: unknown key; did you mean triggers.none.types?" in found


def test_the_password_of_a_database_is_never_shown() -> None:
    """Not as text, document or repr."""
    url = "postgresql://syncd:hunter22@db/syncd"
    loaded = config.read(None, NAMELESS | {"SYNCD_ENGINE__DATABASE": url})

    assert url == loaded.config.engine.database
    for text in (config.show(loaded), str(config.document(loaded.config)), repr(loaded.config)):
        assert "hunter22" not in text
    assert "postgresql://syncd:***@db/syncd" in config.show(loaded)


def test_a_mistake_does_not_quote_the_value() -> None:
    """It might be a secret in the wrong place."""
    url = "postgresql://syncd:hunter22@db"

    assert "hunter22" not in str(problems(None, NAMELESS | {"SYNCD_ENGINE__DATABASE": url}))
    with pytest.raises(ValidationError) as caught:
        config.Config.model_validate({"engine": {"database": url}})
    assert "hunter22" not in str(caught.value)
