"""Lineage: which data trained a model, and what was trained on data, across W&B and Oxen.

`graph` has the values and the walk; `from_catalog`, `from_oxen` and `from_wandb` each know who is next
to whom; `drawings` and `events` write a graph down.
"""
