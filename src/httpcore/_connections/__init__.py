"""Connections: how one is opened, and how exchanges run on it."""
