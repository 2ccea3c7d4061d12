"""From noise to a picture: noise levels, paths through them, solvers, samplers."""
