"""`python -m syncd.sandbox`: serve, and print one JSON line when ready."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from syncd.sandbox.server import serve


def _announce(info: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(info) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m syncd.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", type=Path, help="where state is kept; without it nothing is")
    given = parser.parse_args()
    serve(host=given.host, port=given.port, data=given.data, ready=_announce)


if __name__ == "__main__":
    main()
