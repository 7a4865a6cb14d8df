"""Operations: what is done with versions that are there, each in one module."""
