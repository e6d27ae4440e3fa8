"""Studies: which calibration set, which method and which scheme, answered with figures."""
