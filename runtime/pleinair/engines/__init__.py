"""The one hardware seam: an engine opens a bundle's graph and runs it on a device."""
