"""Setting evaluations against each other: what changed, how sure that is, and where it lies."""
