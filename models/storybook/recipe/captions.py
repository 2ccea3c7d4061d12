"""Tells a scene in words, in many ways and seldom completely."""

from random import Random

from recipe.scenes import AFLOAT, COLOURS, Scene, Thing

NOUNS = {  # kind -> for each of its drawings what it may be called
    "house": (("house", "house", "cottage"), ("house", "house", "home"), ("house", "house", "home")),
    "castle": (("castle",), ("castle", "castle", "fortress"), ("castle", "castle", "palace")),
    "tree": (("tree", "tree", "pine tree", "fir tree", "pine"), ("tree",), ("tree",)),
    "boat": (("boat", "boat", "sailing boat", "sailboat"), ("boat", "boat", "ship"), ("boat",)),
    "balloon": (("balloon", "balloon", "hot air balloon", "hot-air balloon"),) * 3,
    "cat": (("cat", "cat", "cat", "kitten", "kitty"),) * 3,
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
SIDE_WORDS = {
    "left": ("on the left", "on the left", "on the left side", "to the left"),
    "centre": ("in the middle", "in the centre", "in the center"),
    "right": ("on the right", "on the right", "on the right side", "to the right"),
}
ON_GROUND = {
    "grass": ("in a meadow", "on green grass", "in a grassy field", "on the grass", "in a green meadow"),
    "sand": ("in the desert", "on the sand", "on sandy ground", "on a sandy plain", "in a sandy desert"),
    "snow": ("in the snow", "on snowy ground", "on the snow", "in a snowy landscape", "in a snowy field"),
    "sea": ("by the sea", "on an island in the sea", "on a small island", "surrounded by the sea", "on an island"),
}
ON_HILL = {
    "grass": ("on a green hill", "on a grassy hill", "on a hill in a meadow", "on top of a green hill"),
    "sand": ("on a sandy hill", "on a sand dune", "on a hill in the desert", "on a hill of sand"),
    "snow": ("on a snowy hill", "on a snowy hill", "on a hill in the snow", "on a snow-covered hill"),
}
ABOVE_GROUND = {
    "grass": ("over a meadow", "above a green field", "over the grass", "above a meadow"),
    "sand": ("over the desert", "above the sand", "over a sandy plain", "above the desert"),
    "snow": ("over the snow", "above a snowy landscape", "over a snowy field", "above the snow"),
    "sea": ("over the sea", "above the ocean", "over the water", "above the sea"),
}
ABOVE_HILL = {
    "grass": ("over a green hill", "above a grassy hill"),
    "sand": ("over a sandy hill", "above a sand dune"),
    "snow": ("over a snowy hill", "above a snow-covered hill"),
}
EMPTY_GROUND = {
    "grass": ("a meadow", "a green field", "a grassy landscape"),
    "sand": ("a desert", "a sandy plain", "a sandy landscape"),
    "snow": ("a snowy field", "a snowy landscape", "snow"),
    "sea": ("the sea", "the ocean", "the open sea"),
}
EMPTY_HILL = {
    "grass": ("a green hill", "a grassy hill"),
    "sand": ("a sand dune", "a sandy hill"),
    "snow": ("a snowy hill", "a snow-covered hill"),
}
AT_SEA = ("on the sea", "at sea", "on the ocean", "on the water", "sailing on the sea")
AT_HOUR = {
    "day": ("on a sunny day", "under a blue sky", "by day", "in the daytime", "during the day"),
    "sunset": ("at sunset", "at sunset", "at dusk", "under an orange sky", "in the evening"),
    "night": ("at night", "at night", "at night", "under a starry sky", "under the stars", "by night"),
    "dawn": ("at dawn", "at dawn", "at sunrise", "in the early morning", "under a pink sky"),
    "storm": ("in a storm", "under a stormy sky", "on a stormy day", "in stormy weather", "under dark clouds"),
}
BEHIND = {
    "hill": ("with a hill in the background", "with a green coast behind", "hills in the distance"),
    "mountains": ("with mountains in the background", "with snowy mountains behind", "mountains in the distance"),
}
WITH_LIGHT = {"night": ("with a full moon", "with the moon", "the moon is shining", "in the moonlight")}
WITH_SUN = ("with the sun", "the sun is shining", "with a bright sun", "with sunshine")
WITH_CLOUDS = ("with clouds", "with a few clouds", "clouds in the sky")
OPENINGS = ("a picture of ", "a storybook picture of ", "an illustration of ", "a drawing of ", "a painting of ")
BY_LABEL = (
    *(SIZE_WORDS, SIDE_WORDS, ON_GROUND, ON_HILL, ABOVE_GROUND, ABOVE_HILL, EMPTY_GROUND, EMPTY_HILL),
    *(AT_HOUR, BEHIND, WITH_LIGHT),
)

# What stays unsaid is what one expects: a fair day, a meadow, flat land.
HOUR_UNSAID = {"day": 0.45, "sunset": 0.03, "night": 0.03, "dawn": 0.03, "storm": 0.03}
GROUND_UNSAID = {"grass": 0.4, "sand": 0.05, "snow": 0.05, "sea": 0.05}
RELIEF_UNSAID = 0.08


def phrases() -> list[str]:
    """All that captions are put together from."""
    named = [noun for drawings in NOUNS.values() for nouns in drawings for noun in nouns]
    labelled = [phrase for table in BY_LABEL for several in table.values() for phrase in several]
    return [*COLOURS, *named, *labelled, *AT_SEA, *WITH_SUN, *WITH_CLOUDS, *OPENINGS]


def with_article(words: list[str]) -> str:
    """The words behind a or an."""
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def thing_in_words(thing: Thing, random: Random, complete: bool) -> str:
    """An object with size, colour and side, some of them left out."""
    words = []
    if thing.size in SIZE_WORDS and (complete or random.random() < 0.75):
        words.append(random.choice(SIZE_WORDS[thing.size]))
    unsaid = 0.4 if (thing.kind, thing.colour) == ("tree", "green") else 0.06
    if complete or random.random() >= unsaid:
        words.append(thing.colour)
    phrase = with_article([*words, random.choice(NOUNS[thing.kind][thing.drawing])])
    if thing.kind == "balloon" and random.random() < 0.3:
        phrase += " in the sky"
    if complete or random.random() < 0.8:
        phrase += " " + random.choice(SIDE_WORDS[thing.side])
    return phrase


def ground_in_words(scene: Scene, random: Random, says_hill: bool) -> str:
    """Where it all stands."""
    kinds = {thing.kind for thing in scene.things}
    if scene.ground == "sea" and "boat" in kinds and kinds <= set(AFLOAT):
        return random.choice(AT_SEA)
    if kinds == {"balloon"}:
        places = ABOVE_HILL if says_hill else ABOVE_GROUND
    elif not kinds:
        places = EMPTY_HILL if says_hill else EMPTY_GROUND
    else:
        places = ON_HILL if says_hill else ON_GROUND
    return random.choice(places[scene.ground])


def extras_in_words(scene: Scene, random: Random, says_behind: bool) -> list[str]:
    """What else can be seen: mountains, sun or moon, clouds."""
    extras = []
    if says_behind:
        extras.append(random.choice(BEHIND[scene.relief]))
    if scene.light and random.random() < 0.5:
        extras.append(random.choice(WITH_LIGHT.get(scene.hour, WITH_SUN)))
    if scene.clouds and scene.hour != "storm" and random.random() < 0.45:
        extras.append(random.choice(WITH_CLOUDS))
    random.shuffle(extras)
    return extras


def caption(scene: Scene, random: Random, complete: bool = False, hour_unsaid: bool = False) -> str:
    """One caption; a complete one names hour, ground, hills, and each object's colour, size and side."""
    things = [thing_in_words(thing, random, complete) for thing in scene.things]
    random.shuffle(things)
    subject = random.choice((" and ", ", ", " and ", " with ")).join(things)
    says_relief = scene.relief != "flat" and (complete or random.random() >= RELIEF_UNSAID)
    says_hill = says_relief and scene.relief == "hill" and scene.ground != "sea"
    ground = ground_in_words(scene, random, says_hill)
    hour = random.choice(AT_HOUR[scene.hour])
    says_ground = complete or says_hill or not things or random.random() >= GROUND_UNSAID[scene.ground]
    says_hour = not hour_unsaid and (complete or random.random() >= HOUR_UNSAID[scene.hour])
    extras = extras_in_words(scene, random, says_relief and not says_hill)
    if not things:
        subject, says_ground = ground, False
    place = f" {ground}" if says_ground else ""
    tail = "".join(f", {extra}" for extra in extras)
    opening = random.choice(OPENINGS) if random.random() < 0.15 else ""
    order = random.random()
    if order < 0.55:
        return opening + subject + place + (f" {hour}" if says_hour else "") + tail
    if order < 0.8:
        return (f"{hour}, " if says_hour else opening) + subject + place + tail
    parts = [ground] * says_ground + [hour] * says_hour + extras
    random.shuffle(parts)
    return opening + ", ".join([subject, *parts])
