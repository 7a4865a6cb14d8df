"""Pages for a browser: projects, collections, versions with their files and lineage, runs. Read only, no login.

Control goes `routes → views → parts → html`. Text becomes HTML in `html.py` alone, where everything that is not
`Html` already is escaped; names, paths and metadata are whatever a client sent.
"""

from syncd.sandbox.pages.routes import ROUTES

__all__ = ["ROUTES"]
