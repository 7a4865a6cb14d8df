"""Doubles of both ends, for faults that the real ones cannot be made to have.

They keep the same promises as the real ones: `tests/contract` runs over both.
"""

from __future__ import annotations

from syncd.testing.faults import Fault
from syncd.testing.source import Damage, MemoryArtifactSource
from syncd.testing.store import MemoryVersionStore, StoreHarness

__all__ = ["Damage", "Fault", "MemoryArtifactSource", "MemoryVersionStore", "StoreHarness"]
