"""What each page shows, as plain values for its template.

Nothing here asks W&B, and only a version's own page reads from Oxen. All texts come from strangers:
templates escape them, and a URL becomes a link only when it is one of http or https.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from syncd.catalog.catalog import Catalog, Record
from syncd.catalog.panels import PAGE, Line
from syncd.catalog.pulse import Beat
from syncd.catalog.tally import Tally
from syncd.config import Config
from syncd.errors import InvalidNameError, SyncdError, UsageError
from syncd.lineage.from_catalog import CatalogNeighbours
from syncd.lineage.graph import walk
from syncd.refs import ArtifactRef, CommitRef, reference_url
from syncd.versions.deployments import users
from syncd.web import words
from syncd.web.answers import RefusedError
from syncd.web.chart import savings
from syncd.web.graph import picture
from syncd.web.health import engines, waiting_for
from syncd.web.metrics import number, seconds
from syncd.web.stories import File, Stories

NEWEST_FAILURES = 3  # on the first page
DEPTH = 12  # steps between a version and what is drawn with it; a run is one, what it used the next
MOST = 40  # boxes that are drawn on each side of it
READ = 2000  # edges that are read of each step: a dataset may have hundreds of thousands
HUB = "hub.oxen.ai"  # has pages for people; a server of one's own has none
Values = dict[str, Any]


class Pages:
    """The pages' contents.

    Args:
        catalog: what is known.
        config: names both ends.
        stories: reads lineage files.
    """

    def __init__(self, catalog: Catalog, config: Config, stories: Stories) -> None:
        self._catalog = catalog
        self._config = config
        self._stories = stories
        self._app = config.wandb.base_url.replace("://api.", "://", 1).rstrip("/")

    def overview(self, now: float) -> Values:
        """The first page."""
        panels = self._catalog.panels
        tallies, beats = panels.projects(), self._catalog.pulse.beats()
        lag = _lag(beats, now)
        failures = panels.failures(limit=NEWEST_FAILURES)
        proofs = panels.proofs()
        total = _total(tallies)
        rows = [_row(tally, now, lag) for tally in tallies]
        return {
            **self._live(beats, now),
            "rows": rows,
            "total": total,
            "freed": panels.freed(),
            "lag": max((row["lag"] for row in rows), default=None),
            "failures": failures[:NEWEST_FAILURES],
            "more_failures": max(0, total["quarantined"] - NEWEST_FAILURES),
            "proofs": proofs,
            "chart": savings(panels.days()),
        }

    def live(self, now: float) -> Values:
        """What happens now."""
        return self._live(self._catalog.pulse.beats(), now)

    def project(self, entity: str, project: str, page: int, now: float) -> Values:
        """The collections of a project.

        Raises:
            RefusedError: when nothing is known of it.
        """
        found = self._catalog.panels.collections(entity, project, page=page)
        if not found:
            raise _unknown(f"project {entity}/{project}")
        rows = [_row(tally, now, {}) for tally in found[:PAGE]]
        return {
            "entity": entity,
            "project": project,
            "rows": rows,
            "wandb": f"{self._app}/{_quoted(entity, project)}/artifacts",
            **_paging(page, len(found)),
        }

    def collection(
        self, entity: str, project: str, collection: str, page: int, now: float
    ) -> Values:
        """The versions of a collection.

        Raises:
            RefusedError: when nothing is known of it.
        """
        panels = self._catalog.panels
        tally = panels.collection(entity, project, collection)
        if tally is None:
            raise _unknown(f"collection {entity}/{project}/{collection}")
        found = panels.versions(entity, project, collection, page=page)
        return {
            "tally": _row(tally, now, {}),
            "lines": found[:PAGE],
            "wandb": f"{self._app}/{_quoted(entity, project, 'artifacts', tally.type, collection)}",
            **_paging(page, len(found)),
        }

    def failures(self, page: int) -> Values:
        """The versions in quarantine."""
        found = self._catalog.panels.failures(page=page)
        return {"lines": found[:PAGE], **_paging(page, len(found))}

    def search(self, text: str) -> Values:
        """What has a name like this; a version's full name leads to it alone."""
        wanted = text.strip()
        try:
            ref = ArtifactRef.parse(wanted)
        except UsageError:
            ref = None
        line: Line | None = None
        if ref is not None and ref.index is not None:
            line = self._catalog.panels.named(ref.entity, ref.project, ref.collection, ref.index)
        places, lines = self._catalog.panels.search(wanted) if wanted else ([], ())
        return {"text": wanted, "exact": line, "places": places, "lines": lines[:PAGE]}

    # --- one version

    def record(self, entity: str, project: str, collection: str, index: int) -> Record:
        """The version of this name.

        Raises:
            RefusedError: when nothing is known of it.
        """
        line = self._catalog.panels.named(entity, project, collection, index)
        record = self._catalog.get(line.artifact_id) if line else None
        if record is None:
            raise _unknown(f"version {entity}/{project}/{collection}:v{index}")
        return record

    def version(self, record: Record) -> Values:
        """A version's page, without what has to be read from Oxen."""
        commit = record.commit
        return {
            "record": record,
            "commit": commit,
            "source_url": self._version_url(record.ref, record.type),
            "replacement_url": self._replacement_url(record),
            "repo_url": self._repo_url(commit),
            "saved": record.moved_bytes,
        }

    def story(self, record: Record) -> Values:
        """The lineage of a version, and its receipt, or why that cannot be read."""
        if record.commit is None:
            return {"problem": "", "picture": None}
        neighbours = CatalogNeighbours(self._catalog.descent, most=READ)
        start = neighbours.find(record.ref)
        using = users(self._catalog.mirror.events())
        graph = (
            walk(neighbours, start, up=DEPTH, down=DEPTH, most=MOST, users=using)
            if start is not None
            else None
        )
        drawn = {
            "picture": picture(graph, version_path, link) if graph else None,
            "notes": graph.notes if graph else (),
            "more": graph is not None and graph.is_cut,
        }
        try:
            story = self._stories.story(record.ref, record.type, record.commit)
        except SyncdError as error:
            return {**drawn, "problem": str(error), "hint": error.hint}
        return {
            **drawn,
            "problem": "",
            "artifact": story.artifact,
            "run": story.run,
            "run_url": link(story.run.get("url")) if story.run else "",
        }

    def files(self, record: Record, page: int) -> Values:
        """A page of a version's files, or why they cannot be read."""
        if record.commit is None:
            return {"problem": "", "files": [], **_paging(page, 0)}
        try:
            found, more = self._stories.files(record.ref, record.type, record.commit, page)
        except SyncdError as error:
            return {"problem": str(error), "hint": error.hint, "files": [], **_paging(page, 0)}
        hashes = {file.hash for file in found if file.hash}
        repo = record.commit.repo
        good = self._catalog.verified(repo, hashes)
        bad = self._catalog.damaged(repo, hashes)
        rows = [
            {
                "file": file,
                "url": self._file_url(record.commit, file),
                "proof": "damaged" if file.hash in bad else "proved" if file.hash in good else "",
            }
            for file in found
        ]
        return {"problem": "", "files": rows, **_paging(page, PAGE + 1 if more else len(found))}

    # --- links

    def _version_url(self, ref: ArtifactRef, kind: str) -> str:
        """W&B's page of a version (SDK 0.31.0, `wandb.Artifact.url`)."""
        return f"{self._app}/{_quoted(ref.entity, ref.project, 'artifacts', kind, ref.collection, ref.alias)}"

    def _replacement_url(self, record: Record) -> str:
        try:
            return self._version_url(ArtifactRef.parse(record.replacement), record.type)
        except UsageError:
            return ""

    def _repo_url(self, commit: CommitRef | None) -> str:
        if commit is None or urlsplit(self._config.oxen.url).hostname != HUB:
            return ""
        return f"https://{HUB}/{_quoted(commit.repo.namespace, commit.repo.repo)}"

    def _file_url(self, commit: CommitRef, file: File) -> str:
        if not file.tree_path:
            return ""
        try:
            return link(reference_url(self._config.references.base_url, commit, file.tree_path))
        except InvalidNameError:
            return ""

    # --- what happens now

    def _live(self, beats: Sequence[Beat], now: float) -> Values:
        living, silent = engines(beats, now)
        return {
            "engines": [_engine(beat, now) for beat in living],
            "silent": silent,
            "waits": [text for beat in living if (text := waiting_for(beat))],
            "transfers": [
                _transfer(item, now)
                for beat in living
                for item in beat.detail.get("transfers") or ()
                if isinstance(item, Mapping)
            ],
            "queue": sum(int(number(beat.detail.get("queue")) or 0) for beat in living),
        }


def project_path(name: str) -> str:
    """The page of a project or collection, by its name with slashes."""
    return f"/projects/{_quoted(*name.split('/'))}"


def version_path(name: str) -> str:
    """The page of a version, by its name; empty when it is none."""
    try:
        ref = ArtifactRef.parse(name)
    except UsageError:
        return ""
    return f"/projects/{_quoted(ref.entity, ref.project, ref.collection, ref.alias)}"


def link(url: object) -> str:
    """The URL when a page may lead there, else nothing."""
    text = url if isinstance(url, str) else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.netloc else ""


def _quoted(*segments: str) -> str:
    return "/".join(quote(segment, safe="") for segment in segments)


def _unknown(what: str) -> RefusedError:
    return RefusedError(404, f"nothing is known of {what}", "Search for it, or run `syncd status`.")


def _paging(page: int, found: int) -> Values:
    return {"page": page, "previous": page > 0, "following": found > PAGE}


def _row(tally: Tally, now: float, lag: Mapping[str, float]) -> Values:
    since = seconds(tally.waiting_since)
    own = max(0.0, now - since) if since is not None else 0.0
    ended = tally.moved + tally.skipped
    return {
        "tally": tally,
        "lag": lag.get(tally.name, own),
        "ended": ended,
        "percent": 100 * ended // tally.seen if tally.seen else 100,
        "shares": [
            (kind, 100 * getattr(tally, kind) / tally.seen)
            for kind in ("moved", "skipped", "waiting", "quarantined")
            if tally.seen and getattr(tally, kind)
        ],
    }


def _total(tallies: Sequence[Tally]) -> dict[str, int]:
    names = (
        "seen", "moved", "waiting", "skipped", "quarantined",
        "size", "moved_bytes", "kept_bytes", "deduplicated",
    )  # fmt: skip
    return {name: sum(getattr(tally, name) for tally in tallies) for name in names}


def _lag(beats: Sequence[Beat], now: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for beat in engines(beats, now)[0]:
        told = beat.detail.get("lag")
        for project, value in told.items() if isinstance(told, Mapping) else ():
            if (age := number(value)) is not None:
                found[project] = max(age, found.get(project, 0.0))
    return found


def _engine(beat: Beat, now: float) -> Values:
    since = number(beat.detail.get("since"))
    return {
        "name": beat.name.partition(":")[2] or beat.name,
        "phase": str(beat.detail.get("phase", "unknown")),
        "for": words.span(now - since) if since is not None else "",
        "waits": waiting_for(beat),
    }


def _transfer(item: Mapping[str, Any], now: float) -> Values:
    done, total = number(item.get("done")) or 0.0, number(item.get("total")) or 0.0
    speed, since = number(item.get("rate")) or 0.0, number(item.get("since"))
    return {
        "name": str(item.get("artifact", "")),
        "stage": str(item.get("stage", "transfer")),
        "done": done,
        "total": total,
        "percent": min(100.0, 100 * done / total) if total else 0.0,
        "rate": speed,
        "since": words.span(now - since) if since is not None else words.NONE,
        "left": words.span((total - done) / speed) if speed > 0 and total > done else words.NONE,
    }
