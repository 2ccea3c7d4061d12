"""A model on disk: its manifest, read and checked, and its files, compared with their SHA-256."""
