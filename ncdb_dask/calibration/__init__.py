"""Calibration: preprocessed frames for any quantizer, and activation statistics that merge exactly."""
