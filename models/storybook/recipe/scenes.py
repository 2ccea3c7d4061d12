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
AFLOAT = ("boat", "balloon")

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
    """Objects of different kinds, each on a side of its own."""
    sides = [random.choice(SIDES)] if count == 1 else random.sample(("left", "right"), count)
    sizes = SIZES if count == 1 else ("small", "normal")
    things: list[Thing] = []
    for side in sides:
        kind = random_kind(ground, {thing.kind for thing in things}, random)
        things.append(Thing(kind, random_colour(kind, random), side, random.choice(sizes)))
    return tuple(things)


def random_scene(random: Random, count: int | None = None) -> Scene:
    """Any scene, with `count` objects or mostly one."""
    hour, ground = random.choice(HOURS), random.choice(GROUNDS)
    if count is None:
        count = random.choices((0, 1, 2), (0.05, 0.8, 0.15))[0]
    return Scene(
        hour=hour,
        ground=ground,
        relief=random.choice(RELIEFS),
        light=hour != "storm" and random.random() < 0.65,
        clouds=3 if hour == "storm" else random.choice((0, 0, 1, 2)),
        things=random_things(ground, count, random),
    )


def training_scene(random: Random) -> Scene:
    """A scene without held-out pairs."""
    while has_held_out_pair(scene := random_scene(random)):
        pass
    return scene


def labels_of(scene: Scene) -> list[int]:
    """Hour, ground, relief; then per kind its colour (0: absent); then per kind its side (-1: absent)."""
    colours, sides = [0] * len(KINDS), [-1] * len(KINDS)
    for thing in scene.things:
        colours[KINDS.index(thing.kind)] = COLOURS.index(thing.colour) + 1
        sides[KINDS.index(thing.kind)] = SIDES.index(thing.side)
    place = [HOURS.index(scene.hour), GROUNDS.index(scene.ground), RELIEFS.index(scene.relief)]
    return place + colours + sides
