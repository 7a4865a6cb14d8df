"""The rehearsal: a tiny whole migration against the real servers, in a project that is for that.

`assumptions` says what syncd believes of W&B and Oxen. `story` plays the migration, `checks` reads
from it whether the promises hold, `probes` asks the servers one thing at a time, with `versions` made
for that. `grounds` keeps it away from everybody's data and cleans up, `rehearse` puts all of it
together. `plain` runs `client` as a process of its own, with the unmodified wandb SDK.
"""
