"""The metadata scan: every entry of a split becomes one row of depth statistics."""
