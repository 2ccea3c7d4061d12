"""The models kept on this machine: which there are, what they need, how they come here and go."""
