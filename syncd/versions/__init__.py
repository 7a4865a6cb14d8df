"""Versions: what is known and decided about them, as the stages hand it to each other."""
