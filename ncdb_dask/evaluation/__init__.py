"""Evaluating networks in metres: metrics of one frame, tables of many, and what differs between two networks."""
