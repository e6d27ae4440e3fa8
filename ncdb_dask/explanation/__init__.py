"""Where the error of INT8 comes from, and what cures it."""
