"""A W&B-compatible server for trials, demonstrations and tests.

It speaks what the unmodified SDK speaks: GraphQL (schema in `schema/`, resolvers beside it), signed uploads and
downloads, the file stream of runs. Its state is one SQLite file and one folder of bytes. It imports nothing from
the rest of the package: a double that shared our parsers would share our mistakes.

Control goes `server → app → routes → graphql → resolvers → state, blobs, urls`. Start it with
`python -m syncd.sandbox`, with `serve(...)`, or in a test with `Sandbox()`.
"""

from syncd.sandbox.server import Sandbox, serve

__all__ = ["Sandbox", "serve"]
