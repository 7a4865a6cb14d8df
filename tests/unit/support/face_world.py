"""A project whose versions went along the real stages, and the application that shows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from unit_world import World

from syncd.catalog import schema
from syncd.catalog.catalog import Catalog
from syncd.clients.artifacts import Version
from syncd.clients.origins import Found, no_file
from syncd.config import Config
from syncd.refs import CommitRef, RepoRef
from syncd.testing import Damage, MemoryArtifactSource, MemoryVersionStore
from syncd.web.app import Parts, face_app
from syncd.web.inbox import Inbox
from syncd.web.server import Server, listening

SECRET = b"a secret that W&B knows, too"
TOKEN = "read-0123456789abcdef"
HOSTILE = "<script>alert(1)</script>"


class StoreOrigin:
    """An `Origin` over the in-memory store."""

    def __init__(self, store: MemoryVersionStore) -> None:
        self._store = store

    def find(self, repo: RepoRef, names: Sequence[str]) -> Found:
        """See `Origin.find`."""
        commit, path = CommitRef(repo=repo, commit=names[0]), "/".join(names[1:])
        for entry in self._store.tree(commit):
            if entry.path == path:
                return Found(
                    repo=repo,
                    commit=names[0],
                    path=path,
                    hash=entry.hash,
                    size=entry.size,
                    permanent=True,
                )
        raise no_file(repo, names[0], names[1:])

    def read(self, found: Found, begin: int, end: int) -> Iterator[bytes]:
        """See `Origin.read`."""
        data = b"".join(
            self._store.read(CommitRef(repo=found.repo, commit=found.commit), found.path)
        )
        yield data[begin:end]


class FaceWorld(World):
    """Two datasets, a model trained on them, one tuned from that; a version that failed once."""

    def __init__(self, folder: Path) -> None:
        broken = Damage(path="broken.bin", change=lambda data: data[:-1], times=6)
        super().__init__(folder, MemoryArtifactSource(damages=[broken]))
        source = self.source
        self.data: list[Version] = []
        for number in range(3):
            files = {f"images/part-{part}.npy": bytes([part]) * 4096 for part in range(2 + number)}
            labels = b"label,count\n" * (20 + number)
            self.data.append(source.log("digits", {**files, "labels.csv": labels}))
        self.words = source.log("captions", {"captions.jsonl": b'{"text": "a digit"}\n' * 90})
        run = source.add_run("train-7", config={"epochs": 12, "lr": 0.003, "model": "mlp"})
        source.record_use(run, self.data[-1])
        source.record_use(run, self.words)
        self.model = source.log(
            "classifier", {"model.pt": b"weights " * 900}, run=run, kind="model"
        )
        tune = source.add_run("tune-2", config={"epochs": 3, "lr": 0.0001})
        source.record_use(tune, self.model)
        self.tuned = source.log("reader", {"model.pt": b"tuned " * 990}, run=tune, kind="model")
        self.failed = source.log("scans", {"broken.bin": b"damaged on its way", "a.bin": b"good"})
        self.hostile = source.log(
            "digits-raw", {f"{HOSTILE}.bin": b"payload", "b.bin": b"more"}, description=HOSTILE
        )
        self.report = self.backfill()


def beat(catalog: Catalog, *, at: float, **detail: Any) -> None:
    """The sign of life of an engine."""
    told = {
        "phase": "waiting",
        "since": at - 90,
        "last_poll": {"team/proj": at - 30},
        "lag": {},
        "transfers": [],
        "limiter": {"allowed": 8, "most": 8},
        "queue": 0,
        "waiting_for": None,
        "errors": {},
        "version": "0.1.0",
    }
    catalog.pulse.beat("engine:local", {**told, **detail}, at=at)


def made_up(count: int, *, now: datetime | None = None) -> list[dict[str, Any]]:
    """Rows of so many versions, as the stages leave them, over the last two months."""
    moment = now or datetime.now(UTC)
    rows = []
    for number in range(count):
        project, collection = number % 8, number % 80
        state = "replaced" if number % 50 else ("waiting", "quarantined")[number // 50 % 2]
        failed, moved = state == "quarantined", state == "replaced"
        at = moment - timedelta(days=60) * (1 - number / count)
        size = 5_000_000 + 1_000_000 * (number % 97)
        rows.append(
            {
                "artifact_id": f"QXJ0aWZhY3Q6{number:09d}",
                "entity": "research",
                "project": f"project-{project}",
                "collection": f"{('images', 'model', 'audio', 'text')[collection % 4]}-{collection}",
                "version_index": number // 80,
                "type": "model" if collection % 4 == 1 else "dataset",
                "state": state,
                "attempts": 1,
                "workflow_id": "",
                "created_at": (at - timedelta(hours=1)).isoformat(),
                "updated_at": at.isoformat(),
                "size": size,
                "namespace": "research",
                "repo": f"project-{project}",
                "commit_id": f"{number * 7919 + 1:032x}" if moved else "",
                "replacement_id": f"QXJ0aWZhY3Q6{number + 10**8:09d}" if moved else "",
                "replacement": "",
                "moved_files": 12 if moved else 0,
                "moved_bytes": size - 40_000 if moved else 0,
                "kept_bytes": 40_000 if moved else 0,
                "downloaded": size // 2 if moved else 0,
                "uploaded": size // 2 if moved else 0,
                "deduplicated": size // 2 if moved else 0,
                "failed_stage": "transfer" if failed else "",
                "reason": "model.bin has 12 bytes, the manifest says 13" if failed else "",
                "hint": "Log it again." if failed else "",
            }
        )
    return rows


def fill(catalog: Catalog, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put made-up versions into a catalog."""
    catalog._database.upsert(schema.versions, rows, ("artifact_id",))


def made_parts(catalog: Catalog, store: MemoryVersionStore | None = None, **changes: Any) -> Parts:
    """The application's parts, on a loopback address, without a read token unless one is given."""
    web: dict[str, Any] = {"bind": "127.0.0.1:0"} | changes.pop("web", {})
    config = Config.model_validate(
        {
            "wandb": {"projects": ["team/proj", "research/*"]},
            "references": {"base_url": "https://data.example"},
            "web": web,
        }
    )
    values: dict[str, Any] = {
        "config": config,
        "catalog": catalog,
        "origin": StoreOrigin(store or MemoryVersionStore()),
        "inbox": Inbox(catalog),
        "tokens": None,
        "secret": SECRET,
        **changes,
    }
    return Parts(**values)


@contextmanager
def served(parts: Parts) -> Iterator[str]:
    """The application on a free port, and the thread that writes hints; its URL."""
    ready = threading.Event()
    with listening("127.0.0.1", 0, "test") as (listener, url):
        server = Server(face_app(parts), ready.set, patience=1)
        threads = [
            threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True),
            threading.Thread(target=parts.inbox.run, daemon=True),
        ]
        for thread in threads:
            thread.start()
        assert ready.wait(20)
        try:
            yield url
        finally:
            server.should_exit = True
            parts.inbox.end()
            for thread in threads:
                thread.join()


@contextmanager
def client(parts: Parts, **headers: str) -> Iterator[httpx.Client]:
    """A client of the served application, which follows nothing by itself."""
    with served(parts) as url, httpx.Client(base_url=url, headers=headers, timeout=20) as http:
        yield http


def until(condition: Any, what: str) -> Any:
    """The first answer of the condition that is true."""
    end = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)
    return found
