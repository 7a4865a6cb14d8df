"""The import rules: arrows point down the list of layers, and each library has one room.

The rules are the three tables below. Imports are read from the source, whether they stand at the
top of a file, in a function or under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "syncd"

# The lowest layer first. A module imports from its own row and from the rows before it.
# `a.` stands for everything within `a`.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "refs", "naming", "blocks", "entry", "manifest"),  # values
    (
        "log",
        "outages",
        "retry",
        "limiter",
        "config",
        "config.",
        "documents",
        "footprint",
        "replacements",
    ),  # plumbing
    # what stages hand to each other, and what Oxen can hold
    (
        "clients",
        "clients.artifacts",
        "clients.commits",
        "clients.protocols",
        "clients.oxen_paths",
        "versions",
        "versions.",
    ),
    ("clients.", "catalog", "catalog."),  # edges
    ("stages", "stages."),  # the path
    ("changes", "changes."),
    ("promotion", "promotion."),
    ("deployment", "deployment."),
    ("runtime",),
    ("durable", "durable."),
    ("lineage", "lineage."),
    ("operations", "operations."),
    ("rehearsal", "rehearsal."),
    ("web", "web."),  # faces
    ("service", "service."),
    ("demo", "demo."),
    ("cli", "cli.", "__main__"),
)

# Modules that see less than their layer: what they may import of syncd, and nothing else. Stages
# see no other stage, and of the clients only the protocols.
NARROW: dict[str, tuple[str, ...]] = {
    "errors": (),
    "refs": ("errors",),
    "naming": ("refs",),
    "blocks": (),
    "entry": ("errors", "blocks"),
    "manifest": ("errors", "blocks", "entry"),
    "documents": ("errors", "blocks", "entry", "manifest"),
    "stages.": (*LAYERS[0], *LAYERS[1], *LAYERS[2], "catalog", "catalog."),
    "web.gateway": (
        *LAYERS[0],
        *LAYERS[1],
        *LAYERS[2],
        "clients.",
        "web.answers",
        "web.hosts",
        "web.server",
        "web.tokens",
    ),
    "web.answers": (*LAYERS[0], *LAYERS[1], *LAYERS[2], "clients.origins", "web.ranges"),
    "web.origin": (*LAYERS[0], *LAYERS[1], *LAYERS[2], "clients."),
    "web.ranges": (*LAYERS[0], *LAYERS[1]),
    "web.server": (*LAYERS[0], *LAYERS[1], "web.idle", "web.wire"),
    "web.hosts": (*LAYERS[0], *LAYERS[1]),
    "web.idle": (*LAYERS[0], *LAYERS[1], "web.wire"),
    "web.wire": (*LAYERS[0], *LAYERS[1]),
    "web.tokens": (*LAYERS[0], *LAYERS[1]),
    "testing": ("testing.",),
    "testing.": (*LAYERS[0], *LAYERS[1], *LAYERS[2], "testing."),
    # Commits as the path makes them, keys as it writes them; but never the catalog or the engine:
    # it runs in somebody's training process.
    "training": ("training.",),
    "training.": (
        *LAYERS[0],
        *LAYERS[1],
        *LAYERS[2],
        "clients.",
        "stages.annotate",
        "stages.commit",
        "stages.plan",
        "training",
        "training.",
    ),
    "sandbox": ("sandbox", "sandbox."),
    "sandbox.": ("sandbox", "sandbox."),
    "rehearsal.client": (),
    "demo.client": (),  # scripts of a user who does not know syncd
    "demo.project": (),
}

# Modules that only these may import.
PRIVATE: dict[str, tuple[str, ...]] = {
    "sandbox": ("sandbox", "sandbox.", "cli.demo", "cli.serve"),
    "sandbox.": ("sandbox", "sandbox.", "cli.demo", "cli.serve"),
    "testing": (),
    "testing.": ("testing", "testing."),
}

# Each library and the only rooms that know it. The lowest layer knows the standard library alone.
ROOMS: dict[str, tuple[str, ...]] = {
    # training.tracking: what a script publishes is logged by the run that it has begun.
    "wandb": ("training.", "rehearsal.client", "demo.client", "demo.project"),
    "oxen": ("clients.oxen_",),
    "httpx": ("clients.", "demo.story", "sandbox.webhooks"),
    "urllib3": ("clients.payload",),
    "sqlalchemy": ("catalog", "catalog."),
    "psycopg": ("catalog.presence", "testing.postgres_process"),
    "dbos": ("durable.engine", "durable.handover", "durable.steps", "durable.workflow"),
    "apscheduler": ("service.scheduler",),
    "tenacity": ("retry",),
    "structlog": ("log",),
    "pydantic": ("config.",),
    "typer": ("cli", "cli."),
    "rich": ("cli", "cli."),
    "starlette": ("web", "web.", "sandbox", "sandbox."),
    "uvicorn": ("web", "web.", "sandbox", "sandbox."),
    "ariadne": ("web", "web.", "sandbox", "sandbox."),
    "jinja2": ("web.",),
    "prometheus_client": ("web.",),
    "openlineage": ("lineage.events",),
    "graphql": ("web", "web.", "sandbox", "sandbox."),
    "transformers": ("training.huggingface",),
    "lightning": ("training.lightning",),
}


def within(module: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of the places; `a.` and `a_` stand for all that begin so."""
    return any(
        module.startswith(place) if place.endswith((".", "_")) else module == place
        for place in places
    )


def imports(source: str, module: str, known: frozenset[str]) -> Iterator[str]:
    """The absolute names of the modules that a source imports."""
    package = module.split(".") if f"{module}.__init__" in known else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in known else base


def violations(sources: Mapping[str, str]) -> list[str]:
    """One sentence per broken rule.

    Args:
        sources: full module name -> source; a package is named twice, once with `.__init__`.
    """
    known = frozenset(sources)
    found: list[str] = []
    for name, source in sources.items():
        if name.endswith(".__init__") or name == "syncd":
            continue
        for imported in sorted(set(imports(source, name, known)) - {"syncd", name}):
            found += _judge(name.removeprefix("syncd."), imported)
    return found


def _judge(module: str, imported: str) -> Iterator[str]:
    if not imported.startswith("syncd."):
        library = imported.partition(".")[0]
        if within(module, LAYERS[0]) and library not in sys.stdlib_module_names:
            yield f"{module} imports {library}, and values know the standard library alone"
        if library in ROOMS and not within(module, ROOMS[library]):
            yield f"{module} imports {library}, which only {ROOMS[library]} may"
        return
    target = imported.removeprefix("syncd.")
    for place, importers in PRIVATE.items():
        if within(target, (place,)) and not within(module, importers):
            yield f"{module} imports {target}, which only {importers} may"
    allowed = next((seen for place, seen in NARROW.items() if within(module, (place,))), None)
    if allowed is not None:
        if not within(target, allowed):
            yield f"{module} imports {target}, and may only import {allowed}"
        return
    if _layer(module) is None:
        yield f"{module} is in no layer; give it a row in this test"
    elif (_layer(target) or 0) > (_layer(module) or 0):
        yield f"{module} imports {target} from a layer above it"


def _layer(module: str) -> int | None:
    return next((row for row, names in enumerate(LAYERS) if within(module, names)), None)


def package_sources() -> dict[str, str]:
    """Every module of syncd with its source."""
    found: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ["syncd", *file.relative_to(PACKAGE).with_suffix("").parts]
        source = file.read_text(encoding="utf-8")
        found[".".join(parts)] = source
        if parts[-1] == "__init__":
            found[".".join(parts[:-1])] = source
    return found


def test_syncd_keeps_its_import_rules() -> None:
    """Arrows point down, stages stand apart, each library stays in its room."""
    assert violations(package_sources()) == []


def test_the_whole_package_is_read() -> None:
    """A rule that looks at nothing finds nothing."""
    assert {"syncd.errors", "syncd.cli.main", "syncd.clients", "syncd.log"} <= set(
        package_sources()
    )


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("refs", "import msgspec", "standard library alone"),
        ("refs", "from syncd import config", "may only import"),
        ("log", "from syncd.stages import plan", "from a layer above"),
        ("log", "import syncd.cli.main", "from a layer above"),
        ("config.model", "from ..stages.plan import decide", "from a layer above"),
        ("config.model", "def f():\n    from syncd.service import daemon", "from a layer above"),
        ("runtime", "from syncd.web import app", "from a layer above"),
        ("stages.plan", "from syncd.stages import commit", "may only import"),
        ("stages.plan", "from . import commit", "may only import"),
        ("stages.plan", "from syncd.clients import wandb", "may only import"),
        ("web.gateway", "from syncd import catalog", "may only import"),
        ("demo.client", "from syncd import errors", "may only import"),
        ("sandbox.app", "from syncd import errors", "may only import"),
        ("web.app", "from syncd.sandbox import app", "which only"),
        ("cli.plan", "from syncd import testing", "which only"),
        ("clients.oxen_local", "import wandb.sdk", "which only"),
        ("clients.wandb", "import oxen", "which only"),
        ("stages.plan", "import sqlalchemy", "which only"),
        ("backfill", "from dbos import DBOS", "which only"),
        ("clients.wandb", "import tenacity", "which only"),
        ("web.app", "import httpx", "which only"),
        ("catalog", "from rich.table import Table", "which only"),
        ("novelty", "from syncd import errors", "in no layer"),
    ],
)
def test_a_broken_rule_is_found(module: str, line: str, complaint: str) -> None:
    """Each rule can fail."""
    sources = dict.fromkeys(
        [
            "syncd", "syncd.__init__", "syncd.errors", "syncd.config", "syncd.config.__init__",
            "syncd.stages", "syncd.stages.__init__", "syncd.stages.plan", "syncd.stages.commit",
            "syncd.clients", "syncd.clients.__init__", "syncd.clients.wandb", "syncd.service.daemon",
            "syncd.web", "syncd.web.__init__", "syncd.web.app", "syncd.catalog",
            "syncd.catalog.__init__", "syncd.sandbox", "syncd.sandbox.__init__",
            "syncd.sandbox.app", "syncd.testing", "syncd.cli.main",
        ],
        "",
    )  # fmt: skip
    [problem] = violations(sources | {f"syncd.{module}": line})

    assert problem.startswith(f"{module} ")
    assert complaint in problem


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (
            "stages.plan",
            "from syncd import errors, refs\nfrom syncd.clients.protocols import Version",
        ),
        ("runtime", "from syncd.clients import wandb"),
        ("durable.engine", "from dbos import DBOS"),
        ("cli.demo", "def f():\n    from syncd.sandbox import server"),
        ("sandbox.app", "from syncd.sandbox import urls\nfrom . import ids\nimport starlette"),
        ("clients.oxen_local", "import oxen\nfrom syncd import log, retry"),
        ("web.gateway", "from syncd.clients import oxen_local"),
    ],
)
def test_what_is_allowed_is_not_refused(module: str, line: str) -> None:
    """The rules leave room to work."""
    known = ["syncd.sandbox.ids", "syncd.sandbox.urls", "syncd.errors", "syncd.refs", "syncd.log"]
    packages = ["syncd", "syncd.clients", "syncd.stages", "syncd.sandbox", "syncd.web"]
    others = [*known, *packages, *(f"{name}.__init__" for name in packages)]
    modules = ["syncd.retry", "syncd.clients.wandb", "syncd.sandbox.server"]
    others += [*modules, "syncd.clients.oxen_local", "syncd.clients.protocols"]

    assert violations(dict.fromkeys(others, "") | {f"syncd.{module}": line}) == []
