"""Choosing the frames of a calibration set, and showing how well they represent the data."""
