"""`pleinair serve`: jobs over HTTP, painted in processes of their own; see docs/serve.md."""
