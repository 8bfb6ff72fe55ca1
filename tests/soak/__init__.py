"""Long runs: what only shows after very many exchanges. The suite runs a short form of each."""
