"""Promotion: what is in production, moved in W&B and in Oxen together."""
