"""What is asked of the network at a step, and what its answers mean."""
