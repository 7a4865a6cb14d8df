"""The durable path of versions: the engine, what it runs, and many processes at it."""
