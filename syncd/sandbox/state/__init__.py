"""Everything the sandbox remembers, in one SQLite file. The only place with SQL.

One module per subject, plain functions that take the `Database` first. Records (`records.py`) are frozen rows.
"""
