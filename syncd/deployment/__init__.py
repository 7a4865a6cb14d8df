"""Deployment: which version an endpoint serves, how it is told to serve another, and fine-tuning."""
