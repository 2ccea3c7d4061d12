"""The recipe that renders, trains, assembles and measures the storybook model."""
