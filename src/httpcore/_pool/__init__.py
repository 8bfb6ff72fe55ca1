"""Which connection serves which request: the pure `ledger` of `places`, and the `pool` that acts on it."""
