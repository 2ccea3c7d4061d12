"""From a prompt to what the network is told: syntax, tokens, embeddings."""
