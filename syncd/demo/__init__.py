"""The demo: a real W&B project, logged, moved, downloaded again and compared.

`project` and `client` run as processes of their own with the unmodified wandb SDK; `story` plays
the whole piece around them. Only this package uses wandb and scikit-learn.
"""
