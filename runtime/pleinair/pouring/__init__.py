"""Weights poured into graphs that were exported without any: a checkpoint becomes a bundle without PyTorch."""
