"""From pixels to latents and back, and what is done to either."""
