"""W8A8 graphs, whose weights and activations are int8: the form in which OpenVINO computes them well on each CPU."""
