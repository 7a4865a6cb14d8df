"""The sections that name somebody outside syncd who is told: endpoints, and triggers."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import model_validator

from syncd.config import texts, units
from syncd.config.section import Section, key

DEFAULT_HOOK_TIMEOUT = timedelta(minutes=10)


class Hook(Section):
    """Something outside syncd that is told: a command, or whoever listens at a URL."""

    command: tuple[str, ...] = key(
        "A program and its arguments, run without a shell. What it is about comes as JSON on standard "
        "input and as SYNCD_* variables; an exit code other than 0 is a failure.",
        (),
        example=["/usr/local/bin/serve-model", "--env", "live"],
    )
    url: texts.WebURL | None = key(
        "An address that the same JSON is posted to, with the header Idempotency-Key.",
        example="https://serving.example.com/deploy",
    )
    secret_file: texts.SecretFile | None = key(
        "A file that holds the secret that posts are signed with: the header X-Wandb-Signature has "
        "the HMAC-SHA256 of the body in hex, as W&B signs its webhooks.",
        example="/etc/syncd/hook-secret",
    )
    timeout: units.PositiveDuration = key(
        "How long a command may take, or an answer.", DEFAULT_HOOK_TIMEOUT, example="1h"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Hook:
        if sum(map(bool, self.ways)) != 1:
            raise ValueError(f"needs exactly one of {self._names}")
        return self

    @property
    def ways(self) -> tuple[object, ...]:
        """What says how it is told, of which one is given."""
        return (self.command, self.url)

    @property
    def _names(self) -> str:
        return "command, url"


class Endpoint(Hook):
    """What serves a model; `syncd deploy REF NAME` puts a version there."""

    hub: bool = key(
        "Whether it is a deployment of the hub at oxen.url: `syncd deploy` then names a fine-tune and "
        "its checkpoint.",
        False,
    )
    deployment_type: Literal["normal", "fast"] = key(
        "How the hub deploys it.", "normal", example="fast"
    )
    model_type: Literal["lora", "full"] | None = key(
        "What the weights are. With it, what is deployed is a commit on the branch deploy/NAME that "
        "has an oxen.toml beside them, which names base_model as their source.",
        example="lora",
    )
    base_model: str | None = key(
        "The model that the weights were made from, as Oxen knows it.",
        example="Qwen/Qwen3-0.6B",
    )

    @model_validator(mode="after")
    def _sourced(self) -> Endpoint:
        if (self.model_type is None) != (self.base_model is None):
            raise ValueError("model_type and base_model are given together or not at all")
        return self

    @property
    def ways(self) -> tuple[object, ...]:
        """What says how it is told, of which one is given."""
        return (self.command, self.url, self.hub)

    @property
    def _names(self) -> str:
        return "command, url, hub"


class Trigger(Hook):
    """Who is told once of each version that has come to be in Oxen: to train anew, for example."""

    types: tuple[texts.Glob, ...] = key("Artifact types; none means any.", (), example=["dataset"])
    collections: tuple[texts.Glob, ...] = key(
        "Collection names; none means any.", (), example=["train-*"]
    )
    aliases: tuple[texts.Glob, ...] = key(
        "Aliases, one of which the version has then; none means any.", (), example=["latest"]
    )
