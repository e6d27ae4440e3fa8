"""Fine-tuning networks so that INT8 costs less, and a small network of our own; needs the extra ``train``."""
