"""The composition root: builds the concrete clients that a configuration names, and nothing else does.

One process at a time works in a state directory; a lock on it says so to a second one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property

from syncd import log, retry
from syncd.catalog.catalog import Catalog
from syncd.catalog.catalog import opened as opened_catalog
from syncd.clients.disk import disk, private_folder
from syncd.clients.oxen_index import RepoIndex
from syncd.clients.oxen_mark import Mark
from syncd.clients.payload import Payload
from syncd.clients.protocols import VersionStore
from syncd.clients.references import References
from syncd.clients.wandb import WandbSource
from syncd.config import Config, wandb_api_key
from syncd.errors import StoreLockedError
from syncd.refs import RepoRef

PROMOTIONS = retry.Policy(attempts=20, first_wait=0.2, longest_wait=5.0, total=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts of a running syncd."""

    config: Config
    source: WandbSource
    store: VersionStore
    catalog: Catalog
    etagged: Callable[[str], bool]
    mark: Mark | None = None  # of an embedded store's folder


@contextmanager
def opened(
    config: Config,
    environ: Mapping[str, str] = os.environ,
    *,
    source: Callable[[str, str], WandbSource] = WandbSource,
) -> Iterator[Runtime]:
    """Open what the configuration names; closed at the end of the block.

    Args:
        config: the configuration.
        environ: the environment variables.
        source: makes W&B's end from its URL and API key.

    Raises:
        ConfigurationError: when no API key is to be had or the server's URL cannot be used.
    """
    key = wandb_api_key(config, environ).get_secret_value()
    log.redact(key)
    store = build_store(config, environ)
    server = "" if config.oxen.directory else config.oxen.url
    with (
        opened_catalog(config) as catalog,
        closing(source(config.wandb.base_url, key)) as wandb,
        closing(Payload()) as http,
    ):
        yield Runtime(
            config=config,
            source=wandb,
            store=store,
            catalog=catalog,
            etagged=References(http, config.references.base_url, server).etagged,
            mark=Mark(config.oxen.directory) if config.oxen.directory else None,
        )


class Ends:
    """What a configuration names, each part opened when it is first asked for.

    Args:
        config: the configuration.
        environ: the environment variables.
        stack: closes what was opened.
    """

    def __init__(self, config: Config, environ: Mapping[str, str], stack: ExitStack) -> None:
        self.config = config
        self._environ = environ
        self._stack = stack

    @cached_property
    def source(self) -> WandbSource:
        """W&B.

        Raises:
            ConfigurationError: when no API key is to be had.
        """
        key = wandb_api_key(self.config, self._environ).get_secret_value()
        log.redact(key)
        source = WandbSource(self.config.wandb.base_url, key)
        self._stack.callback(source.close)
        return source

    @cached_property
    def store(self) -> VersionStore:
        """Oxen.

        Raises:
            ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
        """
        return build_store(self.config, self._environ)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog."""
        return self._stack.enter_context(opened_catalog(self.config))


@contextmanager
def ends(config: Config, environ: Mapping[str, str] = os.environ) -> Iterator[Ends]:
    """Open what is asked for of a configuration; closed at the end of the block.

    Args:
        config: the configuration.
        environ: the environment variables.
    """
    with ExitStack() as stack:
        yield Ends(config, environ, stack)


def build_store(config: Config, environ: Mapping[str, str] = os.environ) -> VersionStore:
    """The Oxen store that `[oxen] url` names.

    Raises:
        ConfigurationError: when the server's URL cannot be used, or its token cannot be read.
    """
    root = config.oxen.directory
    if root is None:
        from syncd.clients.oxen_server import ServerVersionStore  # noqa: PLC0415 as below

        return ServerVersionStore.configured(config, environ, Payload())
    from syncd.clients.oxen_local import EmbeddedVersionStore  # noqa: PLC0415 importing oxen takes 1 s

    return EmbeddedVersionStore(root)


def probe_oxen(store: VersionStore, config: Config) -> None:
    """Ask Oxen for what costs it nothing: the branches of a repository that nobody has.

    Raises:
        SyncdError: when it is away, is no Oxen server, or refuses.
    """
    store.branches(RepoRef(namespace=config.oxen.namespace or "syncd", repo="syncd-is-it-there"))


def check_store(runtime: Runtime, met: Collection[RepoRef] = (), *, begins: bool = False) -> None:
    """Make sure that the folder of an embedded store is that folder, before anything is made in it.

    A folder that has neither its mark nor any of the repositories that versions were moved to is an empty
    mount point, unless another store was in use: then [oxen] url was changed. One from before there were
    marks is marked when a repository is there. Costs one small file and a query or two.

    Args:
        runtime: open clients.
        met: repositories that replacements in W&B name, which count as the catalog's own do.
        begins: whether versions are about to be moved: then a new store is marked.

    Raises:
        ServiceUnavailableError: when the folder is not there, its disk does not answer, or the catalog
            does not.
        DiskFullError: when there is no room to mark it.
    """
    root, url, stores = (
        runtime.config.oxen.directory,
        runtime.config.oxen.url,
        runtime.catalog.stores,
    )
    known = stores.marks()
    if root is None or runtime.mark is None:
        if root is None and url not in known:
            stores.note(url, "")
        return
    found = runtime.mark.read()
    if found and known.get(url, found) == found:
        if url not in known:
            stores.note(url, found)
        return
    moved = [*stores.repositories(), *met]
    there = any(RepoIndex(root, repo).exists() for repo in moved)
    # An empty mark was made by hand, by somebody who knows better.
    if found != "" and not there and moved and (url in known or not known):
        raise runtime.mark.missing()
    if found is not None or there or begins:
        stores.note(url, runtime.mark.make())


def engine_database(config: Config) -> str:
    """DBOS's database: the catalog's on PostgreSQL, a file beside it on SQLite.

    Two engines on one SQLite file would wait for each other's locks.
    """
    url = str(config.engine.database)
    return f"{url.removesuffix('.db')}-engine.db" if url.startswith("sqlite:") else url


@contextmanager
def one_promotion(config: Config, of: str = "") -> Iterator[None]:
    """Promote nothing else on this machine within the block; waits for those who do.

    A promotion goes on beside a mover: it keeps to repositories for moments only.

    Args:
        config: names the state directory.
        of: an endpoint, where that is what is changed.

    Raises:
        StoreLockedError: when others promote for longer than anybody waits.
    """
    with ExitStack() as held:
        retry.call(
            lambda: held.enter_context(only_one(config, f"{of or 'promotion'}.lock")),
            what="wait for another promotion",
            policy=PROMOTIONS,
        )
        yield


@contextmanager
def only_one(config: Config, name: str = "lock") -> Iterator[None]:
    """Hold a lock of the state directory for the block.

    Raises:
        StoreLockedError: when another process holds it.
    """
    path = config.engine.state_dir / name
    with disk(f"cannot use [engine] state_dir = {config.engine.state_dir}"):
        private_folder(path.parent)
        opened_file = path.open("a+")
    with opened_file as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise StoreLockedError(
                f"another syncd (process {file.read().strip() or 'unknown'}) works in "
                f"{config.engine.state_dir}",
                hint="Wait for it to end, or stop it; running the command again then goes on.",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
