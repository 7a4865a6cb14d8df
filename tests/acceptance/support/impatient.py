"""The program syncd whose retries do not wait; how often it tries is unchanged."""

from __future__ import annotations

import sys

from syncd import retry
from syncd.cli.main import main

if __name__ == "__main__":
    with retry.fast():
        sys.exit(main())
