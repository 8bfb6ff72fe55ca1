"""Concurrency libraries, each on the contract of `base`."""
