"""Models that people bring: what they are, told from small files and headers, without PyTorch."""
