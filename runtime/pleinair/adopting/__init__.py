"""Folders of graphs that other tools have exported: judged by small files, described, and left as they are."""
