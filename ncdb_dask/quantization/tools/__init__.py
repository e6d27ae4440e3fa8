"""Quantizers that run in a process of their own, where need be in another environment than this package."""
