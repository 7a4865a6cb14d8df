"""Files and manifests over signed URLs: whole, without the key, and from the web alone."""

from __future__ import annotations

import gzip
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wandb_server import (
    BASIC,
    KEY,
    SIGNATURE,
    Answer,
    Server,
    harmless,
    node,
    page,
    version,
)

from syncd.clients.wandb import WandbSource
from syncd.clients.wandb_files import FRESH_SECONDS, WandbFiles
from syncd.clients.wandb_session import WandbSession
from syncd.errors import (
    AuthenticationError,
    IntegrityError,
    ManifestError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    SizeMismatchError,
    SyncdError,
)
from syncd.manifest import Entry, Manifest, manifest_digest, to_json

ENTRY = Entry(path="d/a.bin", digest="aaaa", size=7, birth_artifact_id="QQ==")


@pytest.fixture(params=[ENTRY.size, None], ids=["small", "of unknown size"])
def entry(request: pytest.FixtureRequest) -> Entry:
    """Small files come another way than others, and all of this holds for both."""
    return replace(ENTRY, size=request.param)


def signed(url: str) -> dict[str, Any]:
    """The answer that names a file's URL."""
    files = page({"name": ENTRY.path, "directUrl": url})
    return {"project": {"artifactCollection": {"artifactMembership": {"files": files}}}}


# --- files


def test_a_file_is_read_from_its_signed_url_without_the_key(
    api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """Nor with what ~/.netrc may hold for that host; the key goes to the API alone."""
    (Path(os.environ["HOME"]) / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob?sig={SIGNATURE}"))
    storage.on("/blob", Answer(body=b"payload"))

    assert b"".join(source.read(ours, entry)) == b"payload"
    [asked] = storage.asked["/blob"]
    assert asked.query == f"sig={SIGNATURE}"
    assert "authorization" not in asked.headers
    assert KEY not in str(asked)
    assert {request.headers["authorization"] for request in api.all_asked()} == {f"Basic {BASIC}"}


def test_a_signed_url_on_the_apis_own_host_gets_no_key_either(
    api: Server, source: WandbSource, entry: Entry
) -> None:
    """Its signature is what it needs."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{api.url}/blob?sig={SIGNATURE}"))
    api.on("/blob", Answer(body=b"payload"))
    list(source.read(ours, entry))

    assert "authorization" not in api.asked["/blob"][0].headers


def test_a_redirect_does_not_carry_the_key_away(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """The other host gets the question, not the credentials."""
    api.on("ArtifactByID", Answer(status=307, headers={"Location": f"{storage.url}/graphql"}))
    storage.on("ArtifactByID", {"artifact": node()})

    assert source.version("id0").id == "id0"
    assert "authorization" not in storage.asked["ArtifactByID"][0].headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_signed_url_that_has_run_out_is_renewed_once(
    status: int, api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """A long transfer outlives its URLs."""
    ours = version(source, api)
    api.on(
        "ArtifactMembershipFiles",
        signed(f"{storage.url}/old?sig={SIGNATURE}"),
        signed(f"{storage.url}/new?sig={SIGNATURE}"),
    )
    storage.on("/old", Answer(body=b"payload"), Answer(status=status, body=b"expired"))
    storage.on("/new", Answer(body=b"payload"))
    for _ in range(3):  # fresh, run out, and from then on the new one
        assert b"".join(source.read(ours, entry)) == b"payload"

    assert len(api.asked["ArtifactMembershipFiles"]) == 2
    assert (len(storage.asked["/old"]), len(storage.asked["/new"])) == (2, 2)


def test_a_signed_url_that_is_refused_again_is_an_error(
    api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """Not a circle; and the signature is in no message."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob?sig={SIGNATURE}"))
    storage.on("/blob", Answer(status=403))
    with pytest.raises(AuthenticationError, match=r"d/a\.bin") as caught:
        list(source.read(ours, entry))

    assert len(storage.asked["/blob"]) == 2
    assert harmless(caught.value)


@pytest.mark.parametrize(
    "case",
    [
        (Answer(status=404), NotFoundError),
        (Answer(status=503), ServiceUnavailableError),
        (Answer(status=400), PermanentError),
        (Answer(body=b"payload", cut=3), IntegrityError),
        (Answer(body=b"payload", cut=7), IntegrityError),
    ],
)
def test_a_file_that_does_not_come_whole_is_an_error(
    case: tuple[Answer, type[SyncdError]],
    api: Server,
    storage: Server,
    source: WandbSource,
    entry: Entry,
) -> None:
    """It never ends early without one."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob?sig={SIGNATURE}"))
    answer, error = case
    storage.on("/blob", answer)
    with pytest.raises(SyncdError) as caught:
        list(source.read(ours, entry))

    assert type(caught.value) is error
    assert "download team/proj/ds:v0 d/a.bin" in str(caught.value)
    assert harmless(caught.value)


def test_compression_is_not_asked_for(
    api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """The bytes are hashed as they come."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob"))
    storage.on("/blob", Answer(body=b"payload"))
    list(source.read(ours, entry))

    assert storage.asked["/blob"][0].headers["accept-encoding"] == "identity"


def test_bytes_that_are_stored_compressed_stay_so(
    api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """The file of a user is what was logged, whatever a header says about it."""
    ours = version(source, api)
    body = gzip.compress(b"payload")
    entry = replace(entry, size=None if entry.size is None else len(body))
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob"))
    storage.on("/blob", Answer(body=body, headers={"Content-Encoding": "gzip"}))

    assert b"".join(source.read(ours, entry)) == body


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/blob",
        "blob",
        "ftp://x/y",
        "http:///x",
        "//x/y",
        "http://[x/y",
        "http://x:y/z",
        "",
    ],
)
def test_a_signed_url_that_is_no_web_address_is_refused(
    url: str, api: Server, source: WandbSource, entry: Entry
) -> None:
    """What W&B names must not make us read local files."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(url))
    api.on("FetchArtifactManifest", {"artifact": {"currentManifest": {"file": {"directUrl": url}}}})
    with pytest.raises(PermanentError, match="http"):
        list(source.read(ours, entry))
    with pytest.raises(PermanentError, match="http"):
        source.manifest(ours)


def test_a_file_that_wandb_does_not_list_is_an_error(api: Server, source: WandbSource) -> None:
    """Named by its path."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed("http://x"))
    with pytest.raises(NotFoundError, match="other"):
        list(source.read(ours, Entry(path="other", digest="")))


def test_the_urls_of_a_versions_files_are_asked_for_once(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """Not once a file; page by page, by version number."""
    ours = version(source, api)

    def files(name: str, cursor: str | None = None) -> dict[str, Any]:
        found = page({"name": name, "directUrl": f"{storage.url}/{name}"}, cursor=cursor)
        return {"project": {"artifactCollection": {"artifactMembership": {"files": found}}}}

    api.on("ArtifactMembershipFiles", files("a", "f1"), files("b"))
    for name in ("a", "b", "a"):
        storage.on(f"/{name}", Answer(body=name.encode()))
        assert b"".join(source.read(ours, Entry(path=name, digest=""))) == name.encode()

    asked = [request.variables for request in api.asked["ArtifactMembershipFiles"]]
    assert [(item["alias"], item["cursor"]) for item in asked] == [("v0", None), ("v0", "f1")]


def listed(*names: str, at: str) -> dict[str, Any]:
    """The answer that names the URLs of files at a server or folder."""
    found = page(*({"name": name, "directUrl": f"{at}/{name}"} for name in names))
    return {"project": {"artifactCollection": {"artifactMembership": {"files": found}}}}


def test_what_was_signed_beforehand_is_asked_for_by_name_in_pages(
    api: Server, storage: Server, source: WandbSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those that are needed, many at a time."""
    monkeypatch.setattr("syncd.clients.wandb_files.FILE_URL_PAGE", 2)
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", listed("a", "b", at=storage.url), listed("c", at=storage.url))
    source.sign(ours, ["a", "b", "c"])
    for name in ("a", "b", "c"):
        storage.on(f"/{name}", Answer(body=name.encode()))
        assert b"".join(source.read(ours, Entry(path=name, digest=""))) == name.encode()

    asked = [request.variables for request in api.asked["ArtifactMembershipFiles"]]
    assert [item["fileNames"] for item in asked] == [["a", "b"], ["c"]]


def test_one_refused_url_renews_its_whole_batch_once(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """The others have run out as well: not one request a file, however many threads ask."""
    names = [f"f{number}" for number in range(8)]
    ours = version(source, api)
    api.on(
        "ArtifactMembershipFiles",
        listed(*names, at=f"{storage.url}/old"),
        listed(*names, at=f"{storage.url}/new"),
    )
    for name in names:
        storage.on(f"/old/{name}", Answer(status=403))
        storage.on(f"/new/{name}", Answer(body=name.encode()))
    source.sign(ours, names)

    def read(name: str) -> bytes:
        return b"".join(source.read(ours, Entry(path=name, digest="")))

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(read, names)) == [name.encode() for name in names]
    assert len(api.asked["ArtifactMembershipFiles"]) == 2


def test_urls_that_are_old_are_renewed_before_they_are_refused(
    api: Server, storage: Server
) -> None:
    """All of a batch in one request."""
    now = [0.0]
    session = WandbSession(api.url, KEY)
    files = WandbFiles(session, clock=lambda: now[0])
    source = WandbSource(api.url, KEY)
    ours = version(source, api)
    api.on(
        "ArtifactMembershipFiles",
        listed("a", "b", at=f"{storage.url}/old"),
        listed("a", "b", at=f"{storage.url}/new"),
    )
    files.sign(ours, ["a", "b"])
    now[0] = FRESH_SECONDS + 1
    for name in ("a", "b"):
        storage.on(f"/new/{name}", Answer(body=b"x"))
        assert list(files.read(ours, Entry(path=name, digest=""))) == [b"x"]
    for part in (files, session, source):
        part.close()

    assert len(api.asked["ArtifactMembershipFiles"]) == 2


def test_only_so_many_urls_are_kept(
    api: Server, storage: Server, source: WandbSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not depend on the number of files; what was forgotten is asked for again."""
    monkeypatch.setattr("syncd.clients.wandb_files.KEPT_URLS", 2)
    ours = version(source, api)
    api.on(
        "ArtifactMembershipFiles",
        listed("a", "b", "c", at=storage.url),
        listed("a", at=storage.url),
    )
    source.sign(ours, ["a", "b", "c"])
    for name in ("c", "b", "a"):
        storage.on(f"/{name}", Answer(body=b"x"))
        list(source.read(ours, Entry(path=name, digest="")))

    asked = [request.variables["fileNames"] for request in api.asked["ArtifactMembershipFiles"]]
    assert asked == [["a", "b", "c"], ["a"]]


# --- ranges


BODY = b"0123456789"
Range = tuple[int, int | None, bytes]
RANGES: list[Range] = [(0, 10, b"0123456789"), (3, 4, b"3456"), (9, 1, b"9"), (4, None, b"456789")]


@pytest.mark.parametrize("case", RANGES)
def test_a_range_is_asked_for_and_comes(
    case: Range, api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """No byte more crosses the wire."""
    begin, size, wanted = case
    entry = replace(entry, size=entry.size and len(BODY))
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob"))
    last = 9 if size is None else begin + size - 1
    said = {"Content-Range": f"bytes {begin}-{last}/10"}
    storage.on("/blob", Answer(status=206, body=wanted, headers=said))

    assert b"".join(source.read(ours, entry, begin=begin, size=size)) == wanted
    end = "" if size is None else last
    assert storage.asked["/blob"][0].headers["range"] == f"bytes={begin}-{end}"


@pytest.mark.parametrize("case", RANGES)
def test_a_server_that_knows_no_ranges_is_read_up_to_it(
    case: Range, api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """It answers 200 with the whole file."""
    begin, size, wanted = case
    entry = replace(entry, size=entry.size and len(BODY))
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob"))
    storage.on("/blob", Answer(body=BODY))

    assert b"".join(source.read(ours, entry, begin=begin, size=size)) == wanted


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=206, body=b"3456"),
        Answer(status=206, body=b"2345", headers={"Content-Range": "bytes 2-5/10"}),
        Answer(status=206, body=b"2345", headers={"Content-Range": "bytes 2-6/10"}),
        Answer(status=206, body=b"34567", headers={"Content-Range": "bytes 3-7/10"}),
        Answer(status=206, body=b"345", headers={"Content-Range": "bytes 3-5/6"}),
        Answer(status=206, body=b"345", headers={"Content-Range": "bytes 3-6/10"}),
        Answer(status=206, body=b"3456", headers={"Content-Range": "3456"}),
        Answer(status=206, body=b"3456", headers={"Content-Range": "bytes 3-6/10"}, cut=1),
        Answer(body=b"012345"),
        Answer(body=b"01"),
    ],
)
def test_another_range_than_was_asked_for_is_damage(
    answer: Answer, api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """Bytes at the wrong place would only be found at the end of the file."""
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob"))
    storage.on("/blob", answer)
    with pytest.raises(IntegrityError):
        list(source.read(ours, entry, begin=3, size=4))


@pytest.mark.parametrize("size", [9, 11])
@pytest.mark.parametrize(
    "case",
    [
        (None, Answer(body=BODY)),
        (4, Answer(body=BODY)),
        (4, Answer(status=206, body=b"0123", headers={"Content-Range": "bytes 0-3/10"})),
    ],
    ids=["whole", "no ranges", "a part"],
)
def test_another_size_than_the_manifests_is_told_before_any_byte(
    size: int, case: tuple[int | None, Answer], api: Server, storage: Server, source: WandbSource
) -> None:
    """Whoever sends the file in parts would hear at the last one that its bytes are damaged."""
    asked, answer = case
    wrong = replace(ENTRY, size=size)
    ours = version(source, api)
    api.on("ArtifactMembershipFiles", signed(f"{storage.url}/blob"))
    storage.on("/blob", answer)
    said = f"ds:v0 d/a.bin: W&B's manifest says {size} bytes, and W&B sends 10"
    with pytest.raises(SizeMismatchError, match=said) as told:
        next(source.read(ours, wrong, size=asked))
    assert "delete this version" in told.value.hint


def test_no_bytes_cost_no_request(
    api: Server, storage: Server, source: WandbSource, entry: Entry
) -> None:
    """There is no such range."""
    assert list(source.read(version(source, api), entry, begin=3, size=0)) == []
    assert storage.all_asked() == []


# --- manifests


MANIFEST = Manifest(entries={"a": Entry(path="a", digest="dd", size=2, birth_artifact_id="QQ==")})


def test_a_manifest_is_read_from_its_own_url_without_the_key(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """A failure on the way, an expired URL among them, is repeated with a new URL."""
    ours = replace(version(source, api), digest=manifest_digest(MANIFEST.entries.values()))
    where = {"currentManifest": {"file": {"directUrl": f"{storage.url}/m?sig={SIGNATURE}"}}}
    api.on("FetchArtifactManifest", {"artifact": where})
    body = json.dumps(to_json(MANIFEST)).encode()
    storage.on(
        "/m", Answer(status=503), Answer(status=403), Answer(body=body, cut=9), Answer(body=body)
    )

    assert source.manifest(ours) == MANIFEST
    assert len(api.asked["FetchArtifactManifest"]) == 4
    assert all("authorization" not in request.headers for request in storage.all_asked())


def test_a_version_and_its_manifest_are_one_request(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """The URL that came with the version is tried once; whoever tries again wants a new one."""
    where: dict[str, Any] = {"currentManifest": {"file": {"directUrl": f"{storage.url}/m"}}}
    digest = manifest_digest(MANIFEST.entries.values())
    api.on("ArtifactByID", {"artifact": node(digest=digest, **where)})
    api.on("FetchArtifactManifest", {"artifact": where})
    body = json.dumps(to_json(MANIFEST)).encode()
    storage.on("/m", Answer(body=body), Answer(status=403), Answer(body=body))

    assert source.with_manifest("id0")[1] == MANIFEST
    assert (len(api.asked["ArtifactByID"]), len(api.asked["FetchArtifactManifest"])) == (1, 0)
    assert source.with_manifest("id0")[1] == MANIFEST
    assert (len(api.asked["ArtifactByID"]), len(api.asked["FetchArtifactManifest"])) == (2, 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"[]", b"{}", b"\xff", b'{"a\xff":1}'])
def test_a_manifest_that_cannot_be_read_is_an_error_of_its_own(
    body: bytes, api: Server, storage: Server, source: WandbSource
) -> None:
    """The version is set aside, not the whole run."""
    ours = version(source, api)
    where = {"currentManifest": {"file": {"directUrl": f"{storage.url}/m"}}}
    api.on("FetchArtifactManifest", {"artifact": where})
    storage.on("/m", Answer(body=body))
    with pytest.raises((ManifestError, IntegrityError), match="manifest"):
        source.manifest(ours)


def test_a_manifest_that_was_damaged_on_its_way_is_read_again(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """It may still be JSON, and name another digest: nothing must be moved by it."""
    ours = replace(version(source, api), digest=manifest_digest(MANIFEST.entries.values()))
    where = {"currentManifest": {"file": {"directUrl": f"{storage.url}/m"}}}
    api.on("FetchArtifactManifest", {"artifact": where})
    body = json.dumps(to_json(MANIFEST)).encode()
    damaged = body.replace(b'"a"', b'"z"')
    assert damaged != body
    storage.on("/m", Answer(body=damaged), Answer(body=body), Answer(body=body))

    assert source.manifest(ours) == MANIFEST


def test_a_manifest_that_w_and_b_put_together_itself_is_believed_when_it_comes_twice(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """Distributed artifacts are merged by the server; their digest may be older than the merge."""
    ours = replace(version(source, api), digest="0" * 32)
    where = {"currentManifest": {"file": {"directUrl": f"{storage.url}/m"}}}
    api.on("FetchArtifactManifest", {"artifact": where})
    storage.on("/m", Answer(body=json.dumps(to_json(MANIFEST)).encode()))

    assert source.manifest(ours) == MANIFEST


def test_a_manifest_whose_digest_is_another_and_that_comes_differently_is_not_believed(
    api: Server, storage: Server, source: WandbSource
) -> None:
    """Not even when it is good JSON each time."""
    ours = replace(version(source, api), digest="0" * 32)
    where = {"currentManifest": {"file": {"directUrl": f"{storage.url}/m"}}}
    api.on("FetchArtifactManifest", {"artifact": where})
    body = json.dumps(to_json(MANIFEST)).encode()
    answers = [Answer(body=body.replace(b'"a"', f'"{n}"'.encode())) for n in range(20)]
    storage.on("/m", *answers)
    with pytest.raises(IntegrityError, match="two downloads differ"):
        source.manifest(ours)


@pytest.mark.parametrize("artifact", [None, {"currentManifest": None}])
def test_a_version_without_a_manifest_is_an_error(
    artifact: dict[str, Any] | None, api: Server, source: WandbSource
) -> None:
    """It was deleted, or never finished."""
    ours = version(source, api)
    api.on("FetchArtifactManifest", {"artifact": artifact})
    with pytest.raises(ManifestError, match="team/proj/ds:v0 has no manifest"):
        source.manifest(ours)
