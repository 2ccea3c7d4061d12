"""What a storybook scene is made of, and how scenes are drawn at random."""

from dataclasses import dataclass
from random import Random

HOURS = ("day", "sunset", "night", "dawn", "storm")
GROUNDS = ("grass", "sand", "snow", "sea")
RELIEFS = ("flat", "hill", "mountains")
KINDS = ("house", "castle", "tree", "boat", "balloon", "cat")
COLOURS = ("red", "yellow", "green", "blue", "purple", "pink", "white")
SIDES = ("left", "centre", "right")
SIZES = ("small", "normal", "big")
DRAWINGS = 3
AFLOAT = ("boat", "balloon")
TWO_OBJECTS = 0.45

# These pairs never occur in training, so that pictures of them show whether the model composes.
HELD_OUT = frozenset(
    {
        ("house", "yellow"),
        ("castle", "purple"),
        ("tree", "red"),
        ("boat", "pink"),
        ("balloon", "green"),
        ("cat", "blue"),
    }
)


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    kind: str
    colour: str
    side: str
    size: str
    drawing: int


@dataclass(frozen=True)
class Scene:
    """All that a caption may tell about a picture."""

    hour: str
    ground: str
    relief: str
    light: bool
    clouds: int
    things: tuple[Thing, ...]


def has_held_out_pair(scene: Scene) -> bool:
    """Whether any object of the scene has a colour it never has in training."""
    return any((thing.kind, thing.colour) in HELD_OUT for thing in scene.things)


def random_colour(kind: str, random: Random) -> str:
    """A colour for an object; trees are often green."""
    if kind == "tree" and random.random() < 0.35:
        return "green"
    return random.choice(COLOURS)


def random_kind(ground: str, taken: set[str], random: Random) -> str:
    """A kind that fits the ground: boats need the sea, and the sea mostly wants boats and balloons."""
    while True:
        kind = random.choice(KINDS)
        if kind in taken or (kind == "boat" and ground != "sea"):
            continue
        if ground == "sea" and kind not in AFLOAT and random.random() < 0.6:
            continue
        return kind


def random_things(ground: str, count: int, random: Random) -> tuple[Thing, ...]:
    """Objects of different kinds, each on a side of its own; two are never big, so that both have room."""
    sides = [random.choice(SIDES)] if count == 1 else random.sample(("left", "right"), count)
    sizes = SIZES if count == 1 else ("small", "normal")
    things: list[Thing] = []
    for side in sides:
        kind = random_kind(ground, {thing.kind for thing in things}, random)
        colour, size = random_colour(kind, random), random.choice(sizes)
        things.append(Thing(kind, colour, side, size, random.randrange(DRAWINGS)))
    return tuple(things)


def random_scene(random: Random, count: int | None = None, two_objects: float = TWO_OBJECTS) -> Scene:
    """Any scene, with `count` objects or with two in a share of the scenes."""
    hour = random.choices(HOURS, (2, 1, 1, 1, 1))[0]
    ground = random.choice(GROUNDS)
    if count is None:
        count = random.choices((0, 1, 2), (0.05, 0.95 - two_objects, two_objects))[0]
    return Scene(
        hour=hour,
        ground=ground,
        relief=random.choices(RELIEFS, (4, 3, 3))[0],
        light=hour != "storm" and random.random() < 0.7,
        clouds=3 if hour == "storm" else random.choice((0, 0, 1, 2)),
        things=random_things(ground, count, random),
    )


def training_scene(random: Random, two_objects: float = TWO_OBJECTS) -> Scene:
    """A scene without held-out pairs."""
    while has_held_out_pair(scene := random_scene(random, two_objects=two_objects)):
        pass
    return scene


def labels_of(scene: Scene) -> list[int]:
    """Hour, ground, hills, light, clouds; then per kind its colour (0: absent), side, size and drawing (-1: absent)."""
    colours, sides, sizes, drawings = [0] * len(KINDS), [-1] * len(KINDS), [-1] * len(KINDS), [-1] * len(KINDS)
    for thing in scene.things:
        kind = KINDS.index(thing.kind)
        colours[kind] = COLOURS.index(thing.colour) + 1
        sides[kind], sizes[kind] = SIDES.index(thing.side), SIZES.index(thing.size)
        drawings[kind] = thing.drawing
    place = [HOURS.index(scene.hour), GROUNDS.index(scene.ground), RELIEFS.index(scene.relief)]
    return [*place, int(scene.light), int(scene.clouds > 0), *colours, *sides, *sizes, *drawings]
