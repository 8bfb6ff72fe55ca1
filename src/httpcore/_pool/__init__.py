"""Which connection serves which request: the pure `ledger`, and the `pool` that acts on it."""
