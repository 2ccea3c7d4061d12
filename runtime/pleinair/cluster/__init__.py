"""Machines that paint together, as a Ray cluster."""
