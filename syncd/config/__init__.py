"""Configuration: one definition that validates, documents, prints its sample and shows itself."""

from __future__ import annotations

from syncd.config.credentials import (
    gateway_tokens,
    operator_tokens,
    oxen_token,
    wandb_api_key,
    warnings,
    webhook_secret,
)
from syncd.config.model import Config
from syncd.config.sample import document, example, reference, show
from syncd.config.sources import Loaded, load, read

__all__ = [
    "Config",
    "Loaded",
    "document",
    "example",
    "gateway_tokens",
    "load",
    "operator_tokens",
    "oxen_token",
    "read",
    "reference",
    "show",
    "wandb_api_key",
    "warnings",
    "webhook_secret",
]
