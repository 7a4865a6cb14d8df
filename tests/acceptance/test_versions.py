"""Versions as in Git: compared, reviewed and merged by the installed program, on real repositories."""

from __future__ import annotations

from acceptance_world import World

# Two versions of a dataset of product photographs: v1.0, and v1.1 with labels put right, a photograph
# gone, another in its place, and a folder that was renamed.
LOG_SEARCH = """
import random
def rows(fixed):
    yield "image_id,title,label"
    for number in range(400):
        label = "shoe" if number % 8 or fixed else "boot"
        yield f"{number},product {number},{label}"

def photograph(number):
    return random.Random(number).randbytes(2000 + 10 * number)

def log(files, alias, description):
    artifact = wandb.Artifact("product-search-dataset", "dataset", description=description)
    for path, content in files.items():
        with artifact.new_file(path, mode="wb") as file:
            file.write(content)
    run.log_artifact(artifact, aliases=["latest", alias]).wait()

with wandb.init(project="p", id="collect", config={"seed": 1}) as run:
    first = {f"images/train/{n:04}.jpg": photograph(n) for n in range(40)}
    first |= {f"images/raw/{n:04}.jpg": photograph(n) for n in range(100, 105)}
    first["splits/train.csv"] = "\\n".join(rows(False)).encode()
    log({**first, "README.md": b"v1.0"}, "v1.0", "Photographs of products, as collected")
with wandb.init(project="p", id="clean", config={"seed": 2}) as run:
    run.use_artifact("product-search-dataset:v1.0")
    second = {path.replace("raw", "test"): data for path, data in first.items()}
    del second["images/train/0007.jpg"]
    second["images/train/0099.jpg"] = photograph(99)
    second["splits/train.csv"] = "\\n".join([*rows(True), "400,product 400,hat"]).encode()
    log({**second, "README.md": b"v1.1"}, "v1.1-cleaned", "Labels put right")
"""


def test_two_versions_are_compared_and_the_second_is_merged(empty: World) -> None:
    """By W&B's names and by Oxen's, before and after they move; main moves when it is told to."""
    empty.sdk(LOG_SEARCH)
    name = f"{empty.target}/product-search-dataset"
    waiting = empty.syncd("diff", f"{name}:v0", f"{name}:v1", "--json").document
    text = empty.config.read_text(encoding="utf-8")
    empty.config.write_text(
        text.replace("[oxen]", '[oxen]\nbranch = "candidate/{version}"'), encoding="utf-8"
    )
    moved = {
        item["source"].rpartition(":")[2]: item["oxen"] for item in empty.backfill()["replacements"]
    }
    repo = moved["v0"].partition("@")[0]
    found = empty.syncd("diff", f"{name}:v1.0", f"{name}:v1.1-cleaned", "--rows", "--json").document
    by_commit = empty.syncd(
        "diff", f"{repo}@candidate%2Fv0", moved["v1"], "--json", WANDB_API_KEY=""
    ).document

    summary = {kind: count["files"] for kind, count in found["summary"].items()}
    assert summary == {
        "before": 47, "after": 47, "added": 1, "removed": 1, "changed": 2, "renamed": 5,
        "unchanged": 39,
    }  # fmt: skip
    for other in (waiting, by_commit):
        assert (other["summary"], other["files"]) == (found["summary"], found["files"])
    [rows] = found["rows"]
    assert (rows["path"], rows["key"]) == ("splits/train.csv", ["image_id"])
    assert (rows["added"], rows["removed"], rows["columns"]) == (1, 0, {"label": 50})
    merge = ("merge", f"{name}:v1.1-cleaned", "--by", "ann")
    back, reviewed, merged, again, main, verified = empty.each(
        ("diff", moved["v1"], f"{name}:v0"),
        ("review", f"{name}:v1.1-cleaned"),
        merge,
        merge,
        ("diff", f"{repo}@main", moved["v1"]),
        ("verify",),
    )
    assert back["summary"]["removed"]["bytes"] == found["summary"]["added"]["bytes"]
    assert reviewed["description"] == "Labels put right"
    assert reviewed["run"]["ref"] == f"{empty.target}/runs/clean"
    assert [item["artifact"] for item in reviewed["inputs"]] == [f"{name}:v0"]
    assert (reviewed["state"], reviewed["ahead"], reviewed["behind"]) == ("fast-forward", 1, 0)
    assert (reviewed["summary"], reviewed["head"]) == (
        found["summary"],
        moved["v0"].partition("@")[2],
    )
    assert (merged["state"], merged["commit"]) == ("fast-forward", moved["v1"])
    assert again["state"] == "already merged"
    assert main["equal"]
    assert verified["failed"] == 0
