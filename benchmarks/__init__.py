"""Measurements; each is a program of its own, see the README."""
