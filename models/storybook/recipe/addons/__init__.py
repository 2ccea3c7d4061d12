"""What can be added to the finished model: a style, fewer steps, a guide of edges, and a small autoencoder."""
