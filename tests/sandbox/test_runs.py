from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import sandbox_graph as graph

if TYPE_CHECKING:
    from sandbox_client import Client

RUN = """
query Run($name: String!) {
  project(name: "p", entityName: "sandbox") {
    run(name: $name) {
      state createdAt heartbeatAt summaryMetrics config historyLineCount historyKeys tags notes
      user { username }
    }
  }
}
"""


def _run(client: Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = client.gql(RUN, name=name)["project"]["run"]
    return found


def test_run_reads_back_as_it_was_logged(client: Client) -> None:
    """Config, history, summary, tags, files and state of a finished run."""
    logged = client.sdk("""
with wandb.init(project="p", id="r1", config={"lr": 0.5}, tags=["a"], notes="n") as run:
    for step in range(4):
        run.log({"loss": 1 / (step + 1)})
    run.summary["best"] = 7
    run.config["late"] = True
    with open("extra.txt", "w") as file: file.write("extra")
    run.save("extra.txt")
""")
    read = client.sdk("""
run = wandb.Api().run("sandbox/p/r1")
run.file("extra.txt").download()
emit(
    state=run.state, config=run.config, best=run.summary["best"], tags=run.tags, notes=run.notes,
    scanned=[row["loss"] for row in run.scan_history()], last=run.lastHistoryStep,
    sampled=[row["loss"] for row in run.history(keys=["loss"], pandas=False)],
    files=[file.name for file in run.files(per_page=2)], extra=open("extra.txt").read(),
)
""")
    del logged["stderr"], read["stderr"]

    assert logged == {}
    losses = [1, 0.5, 1 / 3, 0.25]
    files = read.pop("files")
    assert {"config.yaml", "extra.txt", "wandb-metadata.json", "wandb-summary.json"} <= set(files)
    assert read == {
        "state": "finished",
        "config": {"lr": 0.5, "late": True},
        "best": 7,
        "tags": ["a"],
        "notes": "n",
        "scanned": losses,
        "sampled": losses,
        "last": 3,
        "extra": "extra",
    }


def test_resumed_run_goes_on_where_it_stopped(client: Client) -> None:
    """A failed run is resumed: steps go on, old config and tags stay, the end counts."""
    client.sdk(
        """
run = wandb.init(project="p", id="r1", config={"a": 1}, tags=["old"])
run.log({"x": 0}); run.log({"x": 1})
run.finish(exit_code=3)
""",
    )
    assert _run(client, "r1")["state"] == "failed"
    resumed = client.sdk("""
with wandb.init(project="p", id="r1", resume="must") as run:
    emit(step=run.starting_step, a=run.config["a"], resumed=run.resumed)
    run.log({"x": 2})
with wandb.init(project="p", id="fresh", resume="allow") as run:
    emit(fresh=run.resumed)
""")

    after = _run(client, "r1")
    assert (resumed["step"], resumed["a"], resumed["resumed"]) == (2, 1, True)
    assert resumed["fresh"] is False
    assert (after["state"], after["historyLineCount"], after["tags"]) == ("finished", 3, ["old"])
    assert after["historyKeys"]["lastStep"] == 2


def test_resume_must_refuses_a_run_that_is_not_there(client: Client) -> None:
    """Nothing to resume is a usage error in the client."""
    result = client.sdk('wandb.init(project="p", id="none", resume="must")', fails=True)

    assert "UsageError" in result["stderr"]


def test_config_update_leaves_a_finished_run_finished(client: Client) -> None:
    """Editing a finished run from outside, or logging into it, changes nothing else."""
    client.sdk("""
with wandb.init(project="p", id="r1", config={"a": 1}) as run:
    run.log({"x": 1})
""")
    before = _run(client, "r1")
    client.sdk("""
run = wandb.Api().run("sandbox/p/r1")
run.config["b"] = 2
run.update()
""")
    graph.log(client, {"f": b"1"}, runName="r1")

    after = _run(client, "r1")
    assert '"b"' in after.pop("config")
    del before["config"]
    # The client sends the summary back as it read it: the same values, perhaps written differently.
    assert json.loads(after.pop("summaryMetrics")) == json.loads(before.pop("summaryMetrics"))
    assert after == before


def test_runs_are_listed_in_pages_filtered_and_ordered(client: Client) -> None:
    """Pages of any size give each run once; filters and order are the server's."""
    for number in range(7):
        state = "running" if number % 2 else "pending"
        client.gql(graph.UPSERT_RUN, project="p", name=f"r{number}", state=state)
        client.gql(
            """mutation M($name: String, $c: JSONString) {
              upsertBucket(input: {modelName: "p", name: $name, config: $c}) { inserted } }""",
            name=f"r{number}",
            c=f'{{"n": {{"value": {10 - number}}}}}',
        )
    read = client.sdk("""
api = wandb.Api()
names = lambda **given: [run.id for run in api.runs("sandbox/p", **given)]
runs = api.runs("sandbox/p", per_page=2)
emit(
    all=names(per_page=2), count=len(runs), running=names(filters={"state": "running"}),
    newest=names(order="-created_at", per_page=1), by_config=names(order="+config.n.value"),
    some=names(filters={"$or": [{"config.n.value": {"$lt": 5}}, {"name": "r0"}]}),
    projects=[project.name for project in api.projects("sandbox")],
)
""")

    ascending = [f"r{number}" for number in range(7)]
    assert read["all"] == ascending
    assert read["count"] == 7
    assert read["running"] == ["r1", "r3", "r5"]
    assert read["newest"] == read["by_config"] == ascending[::-1]
    assert read["some"] == ["r0", "r6"]
    assert read["projects"] == ["p"]


def test_deleted_run_is_gone_and_its_versions_stay(client: Client) -> None:
    """Deleting a run keeps what it logged, unless that is asked for as well."""
    for name in ("r1", "r2"):
        client.gql(graph.UPSERT_RUN, project="p", name=name, state="running")
        graph.log(client, {"f": name.encode()}, runName=name)
    client.sdk("""
api = wandb.Api()
api.run("sandbox/p/r1").delete()
api.run("sandbox/p/r2").delete(delete_artifacts=True)
""")

    assert graph.version(client, "ds:v0") is not None
    assert graph.version(client, "ds:v1") is None
    assert client.gql(RUN, name="r1")["project"]["run"] is None


def test_a_key_nobody_has_is_refused(client: Client) -> None:
    """A wrong key is 401; no key at all is nobody."""
    result = client.sdk("wandb.Api(timeout=9).viewer", api_key="x" * 40, fails=True)
    http = client.http
    nobody = http.post("/graphql", json={"query": "{ viewer { id } }"}, auth=graph.NOBODY)

    assert "AuthenticationError" in result["stderr"] or "401" in result["stderr"]
    assert nobody.json() == {"data": {"viewer": None}}


def test_broken_stream_is_refused_for_good_and_a_packed_one_is_read(client: Client) -> None:
    """The file stream answers nonsense with a status that nobody retries, and takes gzip."""
    client.gql(graph.UPSERT_RUN, project="p", name="r1", state="running")
    path = "/files/sandbox/p/r1/file_stream"
    history = {"wandb-history.jsonl": {"offset": 0, "content": ['{"_step": 4, "x": 1}']}}
    packed = gzip.compress(json.dumps({"files": history, "complete": True, "exitcode": 0}).encode())
    broken = {"wandb-history.jsonl": {"offset": 0, "content": ["{"]}}

    assert client.http.post(path, content=b"{").status_code == 400
    assert client.post(path, {"files": broken}).status_code == 400
    assert client.post("/files/sandbox/p/none/file_stream", {}).status_code == 404
    answer = client.http.post(path, content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.json()["exitcode"] == 0
    run = _run(client, "r1")
    assert (run["state"], run["historyLineCount"]) == ("finished", 1)
    assert run["historyKeys"]["lastStep"] == 4
