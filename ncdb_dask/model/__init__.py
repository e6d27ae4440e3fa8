"""What the tools must know of a network: its input, its output and how it is evaluated."""
