"""What syncd believes of W&B and Oxen, as data: a rehearsal finds out what is true.

In the order of a report: the promises of a migration, what nobody can know from the outside, what
syncd builds on, what it expects of the place that references point at.
"""

from __future__ import annotations

from dataclasses import dataclass

_DOCS = "docs.wandb.ai"
_TESTS = "wandb/wandb, tests/system_tests"
_SDK = "wandb SDK 0.31.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A belief.

    Args:
        id: names it in a report.
        statement: what is believed, one sentence.
        source: where that comes from.
        consequence: what syncd does about it when it does not hold.
        vital: whether data, or the way to it, is lost when it does not hold.
        settings: the sandbox's switches that make it hold or not.
    """

    id: str
    statement: str
    source: str
    consequence: str
    vital: bool = False
    settings: tuple[str, ...] = ()


PROMISES = (
    Assumption(
        id="migration-ends",
        statement="A migration (log, move, reclaim by deletion, restore) runs through.",
        source="README",
        consequence="What is seen names the step; a version that fails is left as it is in W&B.",
        vital=True,
    ),
    Assumption(
        id="bytes-after-move",
        statement="A plain client downloads the same bytes after the move, by version and by alias.",
        source="README",
        consequence="Do not migrate: report what is seen.",
        vital=True,
    ),
    Assumption(
        id="bytes-after-reclaim",
        statement="A plain client downloads the same bytes after the old versions were deleted.",
        source="README",
        consequence="Leave [reclaim] policy at none: then nothing is ever deleted.",
        vital=True,
    ),
    Assumption(
        id="kept-files-outlive-their-version",
        statement="A small file that stayed in W&B is served after the version it was born in is "
        "deleted.",
        source=f"{_DOCS}, delete artifacts: files that other versions use stay",
        consequence="Leave [reclaim] policy at none: syncd's replacement names files by their birth.",
        vital=True,
    ),
    Assumption(
        id="bytes-after-restore",
        statement="A plain client downloads the same bytes after the files came back into W&B.",
        source="README",
        consequence="Leave [reclaim] policy at none, so that no restoring is needed.",
        vital=True,
    ),
    Assumption(
        id="latest-stays-on-the-newest",
        statement="`latest` names the newest content after each step.",
        source="README",
        consequence="Do not migrate: training runs would read old data.",
        vital=True,
    ),
    Assumption(
        id="aliases-follow",
        statement="Every alias moves on to the replacement, and back to what was restored.",
        source=f"{_TESTS}, test_update_aliases_on_artifact",
        consequence="Do not migrate: who asks by alias would get the old version, or none.",
        vital=True,
    ),
    Assumption(
        id="lineage-follows",
        statement="The replacement is an output of the run that logged the original, and an input of "
        "the runs that used it.",
        source=f"{_SDK}, `CreateArtifact(runName)` and `UseArtifact`",
        consequence="The original runs stand in the replacement's metadata and in the Oxen commit.",
    ),
    Assumption(
        id="fields-follow",
        statement="The replacement has the original's description, tags, metadata and time to live.",
        source=f"{_SDK}, `CreateArtifactInput`",
        consequence="They stand in the Oxen commit's lineage file, too.",
    ),
    Assumption(
        id="finished-runs-stay-finished",
        statement="Logging a version as output of a finished run changes nothing else of that run.",
        source=f"{_SDK}, wandb-core sends `CreateArtifact` with a run's name",
        consequence="Look at the runs that are named; of a run syncd itself writes the config alone.",
    ),
    Assumption(
        id="again-is-nothing",
        statement="A second move finds everything done, and moves and makes nothing.",
        source="README",
        consequence="The report of `syncd backfill` names the versions that were made again.",
    ),
)

UNKNOWNS = (
    Assumption(
        id="refusals-come-with-200",
        statement="GraphQL refuses with HTTP status 200 and an `errors` list.",
        source="nobody says; wandb-core reads either",
        consequence="syncd reads the errors whatever the status is.",
        settings=("error_status",),
    ),
    Assumption(
        id="newest-come-first",
        statement="A listing without an order begins with the newest version.",
        source="nobody says",
        consequence="syncd always names an order.",
        settings=("version_order",),
    ),
    Assumption(
        id="numbers-are-not-reused",
        statement="The number of a deleted newest version is not given again.",
        source="nobody says",
        consequence="syncd knows versions by their id and digest; an Oxen branch wandb/vN then names "
        "the newer one of both, and the older one's commit stays in its history.",
        settings=("reuse_numbers",),
    ),
    Assumption(
        id="repeats-find-any-version",
        statement="Logging the content of any earlier version gives that version back.",
        source="pull requests 6153 and 11340 of wandb/wandb; the SDK's docstring says: the latest only",
        consequence="syncd looks for its replacement by metadata before it logs one.",
        settings=("deduplication",),
    ),
    Assumption(
        id="repeats-change-no-words",
        statement="Logging known content again leaves description and metadata as they are.",
        source="nobody says",
        consequence="syncd reads the replacement again after logging it, and writes its own metadata.",
        settings=("repeat_updates",),
    ),
    Assumption(
        id="twins-both-commit",
        statement="Two versions with the same content that are under way at once both become versions.",
        source="nobody says",
        consequence="The second one goes into quarantine with W&B's refusal; run `syncd backfill` again: it "
        "finds the first.",
        settings=("twin_commits",),
    ),
    Assumption(
        id="latest-can-be-taken-off",
        statement="`latest` can be taken off a version, and then names none.",
        source="nobody says; the SDK asks for it",
        consequence="syncd moves `latest` to the version that is to have it; only in a portfolio where "
        "nobody had it, the one who is linked then becomes it.",
        settings=("latest_removal",),
    ),
    Assumption(
        id="bare-names-are-latest",
        statement="A name without a version or alias is `latest`.",
        source="nobody says",
        consequence="syncd always asks with a version or an alias.",
        settings=("bare_name",),
    ),
    Assumption(
        id="nobody-inherits-latest",
        statement="When the version that is `latest` is deleted, no other becomes it.",
        source="nobody says",
        consequence="syncd deletes no version that has an alias.",
        settings=("latest_after_delete",),
    ),
    Assumption(
        id="digests-do-not-mix",
        statement="A collection of XXH128 digests refuses a version with MD5 ones.",
        source="nobody says",
        consequence="syncd gives the replacement the kind of digest that its original has.",
        settings=("mixed_digests",),
    ),
    Assumption(
        id="references-are-no-inputs",
        statement="A `wandb-artifact://` reference alone makes no version an input of the run.",
        source="nobody says",
        consequence="The replacement keeps the reference, and so whatever W&B makes of it; reclaim "
        "protects what is pointed at.",
        settings=("reference_inputs",),
    ),
    Assumption(
        id="linking-again-is-nothing",
        statement="Linking a version to a portfolio that holds it keeps its place.",
        source="nobody says",
        consequence="syncd looks who is in a portfolio, and then only moves aliases.",
        settings=("relink",),
    ),
    Assumption(
        id="patches-stand-alone",
        statement="A distributed version has the files of its patches, and none of the version before.",
        source=f"{_TESTS}, test_distributed_artifact_simple; for a base version nobody says",
        consequence="syncd reads a version's manifest as W&B tells it, and writes whole ones only.",
        settings=("patch_base",),
    ),
    Assumption(
        id="aliases-may-be-moved",
        statement="This API key may give and move the alias `production`.",
        source=f"{_DOCS}, protected aliases",
        consequence="A version whose alias may not be moved goes into quarantine and is reported; its aliases "
        "stay where they are.",
        settings=("protected_aliases",),
    ),
    Assumption(
        id="automation-names-are-per-scope",
        statement="Two automations may have one name where they belong to different things.",
        source=f"{_TESTS}, test_automations",
        consequence="syncd makes no automations.",
    ),
    Assumption(
        id="webhook-signatures-are-hex",
        statement="`X-Wandb-Signature` is the hex HMAC-SHA256 of the body.",
        source=f"{_DOCS}, webhook automations, whose own script prints base64",
        consequence="Either is to be taken; without webhooks the next look finds what is new.",
        settings=("webhook_signature",),
    ),
    Assumption(
        id="webhooks-are-never-skipped",
        statement="Every event of an automation is delivered.",
        source=f"{_DOCS}: a cooldown may skip repeats",
        consequence="syncd looks for itself; a webhook could only make it look sooner.",
        settings=("webhook_cooldown",),
    ),
)

RELIED_ON = (
    Assumption(
        id="deletion-spares-aliases",
        statement="A version that has an alias is not deleted unless its aliases are given up.",
        source=f"{_TESTS}, test_artifact_delete",
        consequence="syncd reads the aliases just before; in between somebody could lose one. Leave "
        "[reclaim] policy at none.",
        vital=True,
    ),
    Assumption(
        id="deleted-is-gone",
        statement="A deleted version is found neither by its id nor in a listing.",
        source=f"{_DOCS}, delete artifacts",
        consequence="A second reclaim tries to delete it again, and reports the refusal.",
    ),
    Assumption(
        id="drafts-are-not-listed",
        statement="A version that is not committed is in no listing.",
        source=f"{_SDK}, the filter state COMMITTED",
        consequence="syncd would set it aside as a version without a manifest.",
    ),
    Assumption(
        id="order-and-pages-hold",
        statement="Versions come in the order of their numbers when asked for, each once, in pages.",
        source=f"{_TESTS}, test_artifacts_order and test_artifact_versions_start",
        consequence="Do not migrate: `latest` is kept on newer content by that order.",
        vital=True,
    ),
    Assumption(
        id="aliases-tell-where-they-are",
        statement="W&B lists a collection's aliases, and says of several at a time which versions they are on.",
        source=f"{_SDK}, ArtifactCollectionAliases and ArtifactMembershipFiles, one at a time",
        consequence="An alias that moves between versions older than the ten newest is followed by a webhook's "
        "hint, or in turn, one collection a poll.",
    ),
    Assumption(
        id="alias-has-one-place",
        statement="Giving an alias to a version takes it from any other, in the same request.",
        source=f"{_TESTS}, test_artifact_collection_aliases",
        consequence="Do not migrate: an alias would name two versions.",
        vital=True,
    ),
    Assumption(
        id="link-and-give-back",
        statement="A link and the alias given in the same request are done one after the other, so that "
        "`latest` of a portfolio stays where it was.",
        source="the GraphQL specification: mutations run in order",
        consequence="Do not migrate what is linked: a portfolio's `latest` would name what was linked "
        "last, not what is newest.",
        vital=True,
    ),
    Assumption(
        id="metadata-alone-changes",
        statement="Writing a version's metadata leaves its description, tags and aliases.",
        source=f"{_SDK}, `UpdateArtifact`",
        consequence="They stand in the Oxen commit's lineage file, too.",
    ),
    Assumption(
        id="ttl-is-kept",
        statement="A time to live is told as it was set.",
        source=f"{_SDK}, `ttlDurationSeconds`",
        consequence="Set [reclaim] policy to delete or none, not to ttl.",
    ),
    Assumption(
        id="answers-say-the-time",
        statement="Each answer has a `Date` header, and it is what this machine's clock says.",
        source="RFC 9110, 6.6.1",
        consequence="Set this machine's clock; until both agree, a sweep removes nothing.",
        settings=("date_offset",),
    ),
    Assumption(
        id="use-is-idempotent",
        statement="A run that is recorded twice as a consumer is one consumer.",
        source=f"{_SDK}, `UseArtifact`",
        consequence="A lineage view may show an arrow twice.",
    ),
    Assumption(
        id="uploads-come-back",
        statement="A file that syncd uploads is downloaded with the same bytes, and in ranges.",
        source=f"{_SDK}, `CreateArtifactFiles`; parallel download in ranges",
        consequence="Without ranges, a download that was cut off begins anew.",
        vital=True,
    ),
    Assumption(
        id="registry-links-move",
        statement="A link in a registry moves to the replacement as one in a portfolio does.",
        source=f"{_TESTS}, test_registries",
        consequence="Reclaim leaves every version that is linked anywhere.",
    ),
)

OXEN = (
    Assumption(
        id="references-are-served",
        statement="The address in [references] base_url answers.",
        source="config.toml",
        consequence="The rehearsal goes on with a gateway of its own; start `syncd gateway` before "
        "you migrate.",
    ),
    Assumption(
        id="references-have-etags",
        statement="A reference answers with its content's hash as ETag, so that a plain client checks "
        "the bytes.",
        source=f"{_SDK}, storage_handlers/http_handler.py",
        consequence="The reference names its URL as digest; the hash stands beside it.",
    ),
    Assumption(
        id="references-have-ranges",
        statement="A reference answers a request for a range with that range.",
        source="RFC 9110",
        consequence="A download that was cut off begins anew.",
    ),
    Assumption(
        id="old-commits-stay",
        statement="An earlier version's commit is unchanged after later ones were made.",
        source="docs/oxen-server.md",
        consequence="Do not migrate: `syncd verify` says which commits are wrong.",
        vital=True,
    ),
    Assumption(
        id="branches-follow-aliases",
        statement="Oxen has a branch for each version, and one for each alias, at the right commit.",
        source="README",
        consequence="`syncd resolve` goes by metadata, not by branches.",
    ),
)

ASSUMPTIONS = (*PROMISES, *UNKNOWNS, *RELIED_ON, *OXEN)
