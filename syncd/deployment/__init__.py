"""Deployment: which version an endpoint serves, and how it is told to serve another."""
