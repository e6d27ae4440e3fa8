"""Handing a calibration set over in the form that a quantizer or a vendor's tool chain reads."""
