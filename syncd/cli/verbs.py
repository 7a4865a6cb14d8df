"""The list of commands: each verb with the module that holds it.

A new verb is a module with one function, and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the command list.

    Args:
        name: as typed; two words for a verb within a group.
        target: `module:function`, imported when the verb is called.
        summary: one line for the list of commands.
    """

    name: str
    target: str
    summary: str


Table = dict[str, tuple[Verb, ...]]
VERBS: Table = {
    "Start here": (
        Verb(
            "demo",
            "syncd.cli.demo:demo",
            "The whole job with nothing configured: log, move, download, compare.",
        ),
        Verb(
            "init",
            "syncd.cli.init:init",
            "Ask what is needed, write config.toml, and try both ends.",
        ),
        Verb(
            "rehearse",
            "syncd.cli.rehearse:rehearse",
            "A tiny migration in a scratch project: what is true of the real servers.",
        ),
        Verb(
            "config check",
            "syncd.cli.config:check",
            "Report all mistakes of the configuration at once.",
        ),
        Verb(
            "config show",
            "syncd.cli.config:show",
            "Print the values in force and where each comes from.",
        ),
        Verb("config example", "syncd.cli.config:example", "Print a commented configuration file."),
    ),
    "Move": (
        Verb(
            "plan",
            "syncd.cli.plan:plan",
            "Show what would move, what stays and why. Changes nothing.",
        ),
        Verb(
            "backfill",
            "syncd.cli.backfill:backfill",
            "Move what is there now; run it again to resume.",
        ),
        Verb(
            "verify",
            "syncd.cli.verify:verify",
            "Read everything moved again from Oxen and compare it.",
        ),
        Verb(
            "reclaim",
            "syncd.cli.reclaim:reclaim",
            "Free the W&B storage of moved versions, under the configured policy and guards.",
        ),
        Verb(
            "restore",
            "syncd.cli.restore:restore",
            "Put moved versions back into W&B as ordinary files.",
        ),
    ),
    "Ask": (
        Verb(
            "status",
            "syncd.cli.status:status",
            "Show what was seen, moved, and is waiting, per collection.",
        ),
        Verb(
            "resolve",
            "syncd.cli.resolve:resolve",
            "Give the other side's name of a version or a commit.",
        ),
        Verb(
            "lineage",
            "syncd.cli.lineage:lineage",
            "Which data trained this, and what was trained on this.",
        ),
    ),
    "Versions": (
        Verb(
            "diff",
            "syncd.cli.diff:diff",
            "Show what one version has against another: files, bytes, rows.",
        ),
        Verb(
            "review",
            "syncd.cli.merge:review",
            "Show what merging a version into the main branch would change.",
        ),
        Verb(
            "merge",
            "syncd.cli.merge:merge",
            "Merge a version into the main branch, in Oxen alone.",
        ),
    ),
    "Promote": (
        Verb(
            "promote",
            "syncd.cli.promote:promote",
            "Give an alias to a version, in W&B and in Oxen together.",
        ),
        Verb(
            "rollback",
            "syncd.cli.promote:rollback",
            "Give an alias back to the version that had it before.",
        ),
        Verb(
            "production",
            "syncd.cli.production:production",
            "What is in production, since when, by whom, trained on what.",
        ),
        Verb(
            "compare",
            "syncd.cli.compare:compare",
            "A candidate beside what is in production: metrics, config, data, weights.",
        ),
        Verb(
            "deploy",
            "syncd.cli.deploy:deploy",
            "Let an endpoint serve a version.",
        ),
        Verb(
            "endpoint rollback",
            "syncd.cli.deploy:rollback",
            "Let an endpoint serve again what it served before.",
        ),
        Verb(
            "endpoint list",
            "syncd.cli.deploy:list_",
            "What each endpoint serves, and which data trained it.",
        ),
        Verb(
            "endpoint history",
            "syncd.cli.deploy:history",
            "What an endpoint served, since when, and who deployed it.",
        ),
        Verb(
            "finetune start",
            "syncd.cli.finetune:start",
            "Let the hub fine-tune a model on a file of a version's commit.",
        ),
        Verb(
            "finetune list",
            "syncd.cli.finetune:list_",
            "What syncd began to fine-tune, on which data.",
        ),
        Verb(
            "finetune show",
            "syncd.cli.finetune:show",
            "How far a fine-tune has come, and its checkpoints.",
        ),
        Verb(
            "finetune logs",
            "syncd.cli.finetune:logs",
            "What a fine-tune printed.",
        ),
        Verb(
            "finetune run",
            "syncd.cli.finetune:run",
            "Run a fine-tune that was made and does not run.",
        ),
        Verb(
            "finetune stop",
            "syncd.cli.finetune:stop",
            "Stop a fine-tune.",
        ),
    ),
    "Mend": (
        Verb(
            "quarantine list",
            "syncd.cli.quarantine:list_",
            "List the versions that failed for good, with cause and next step.",
        ),
        Verb(
            "quarantine show",
            "syncd.cli.quarantine:show",
            "Show all that is known of one version that failed for good.",
        ),
        Verb(
            "quarantine retry",
            "syncd.cli.quarantine:retry",
            "Take versions that failed along the whole path again.",
        ),
        Verb(
            "trigger list",
            "syncd.cli.trigger:list_",
            "Who is still to be told of new versions, and could not be.",
        ),
        Verb(
            "trigger retry",
            "syncd.cli.trigger:retry",
            "Tell triggers now that wait for another attempt, or were given up.",
        ),
        Verb(
            "catalog rebuild",
            "syncd.cli.catalog:rebuild",
            "Make the local state again, from W&B and Oxen alone.",
        ),
    ),
    "Serve": (
        Verb(
            "run",
            "syncd.cli.run:run",
            "The daemon: watch W&B, move what is new, serve it.",
        ),
        Verb(
            "worker",
            "syncd.cli.worker:worker",
            "Move what others have queued on the same PostgreSQL; on any number of machines.",
        ),
        Verb(
            "gateway",
            "syncd.cli.serve:gateway",
            "Serve moved files to training machines, and nothing else.",
        ),
        Verb(
            "face",
            "syncd.cli.face:face",
            "What answers HTTP: webhooks, dashboard, figures. Started by `syncd run`.",
        ),
        Verb(
            "webhook install",
            "syncd.cli.webhook:install",
            "Make the automations in W&B that call this server.",
        ),
        Verb(
            "webhook test",
            "syncd.cli.webhook:test",
            "Send a signed request to this server, and see it arrive.",
        ),
        Verb(
            "sandbox serve", "syncd.cli.serve:sandbox", "Start a W&B-compatible server for trials."
        ),
    ),
}
GROUPS = {
    "catalog": "The local state, which is a cache.",
    "endpoint": "What serves models.",
    "finetune": "Models that the hub trains on versions.",
    "config": "Check, show or write the configuration.",
    "quarantine": "Versions that failed for good.",
    "trigger": "Who is told of versions that have come to be in Oxen.",
    "webhook": "W&B tells when something is new.",
    "sandbox": "A W&B-compatible server for trials.",
}
