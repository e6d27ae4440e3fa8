"""Quantization: from an FP32 network and calibration frames to an INT8 network that loses little, and a report."""
