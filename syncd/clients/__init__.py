"""The edges: the only importers of third-party clients, behind two protocols."""
