"""The process that lasts: it watches, moves what is new, and does its chores."""
