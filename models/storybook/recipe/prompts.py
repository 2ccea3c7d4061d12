"""The prompts that show at a glance what the model can do."""

SHOWN = (
    "a red house on a snowy hill at night",
    "a yellow balloon over the sea at sunset",
    "a big purple castle in a meadow on a sunny day",
    "a blue cat on the left, on the sand, at dawn",
    "a small green boat on the sea in a storm",
    "a white cat in the snow under a blue sky",
    "a pink boat on the sea at night with a full moon",
    "a yellow house on the left, on green grass, at sunset",
    "a blue balloon over the desert at sunrise, with mountains in the background",
    "a big red castle on an island in the sea at dusk",
    "a green tree on the right, in the snow, in stormy weather",
    "a pink cat on the left and a blue house on the right in a meadow at night",
    "at dawn, a large red sailing boat in the middle, mountains in the distance",
    "a purple tree on a sand dune by day",
    "a red balloon in the sky on the left, a white castle on the right, in the snow, on a sunny day",
    "a green cat on a grassy hill under the stars",
)
