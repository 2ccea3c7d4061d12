"""What a caller may ask for: the options, a request made of them, and its record."""
