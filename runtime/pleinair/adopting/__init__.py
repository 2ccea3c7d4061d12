"""Graphs that other tools have exported, made to open as a bundle: judged by small files, described, left as they are."""
