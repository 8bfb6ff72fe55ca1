"""What only a network shows: packets that vanish, cables that are pulled, hosts that restart, distance."""
