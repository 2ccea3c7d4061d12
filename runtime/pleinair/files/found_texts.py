"""The texts that a picture or film file holds, kept as far as there is room for them."""

from dataclasses import dataclass, field

from pleinair.files import exif, xmp

MAX_TEXT = 1 << 22  # bytes of one text, unpacked; the largest ComfyUI workflows have some hundred kilobytes
MAX_TEXTS = 1 << 24  # of all texts of a file
OVERHEAD = 64  # what keeping one costs besides, so that a million empty ones are too many
MAX_SKIPPED = 16


@dataclass
class Embedded:
    """The texts of a picture file by their names, and what was left unread."""

    kind: str  # PNG, JPEG, WEBP, GIF or MP4
    texts: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None  # width and height in pixels, where the header says so
    room: int = MAX_TEXTS

    def add(self, name: str, text: str) -> None:
        """Keep the first text of each name."""
        self.texts.setdefault(name, text)

    def fits(self, size: int, what: str) -> bool:
        """Whether there is room for a text of `size` bytes, which is then taken."""
        if size > min(MAX_TEXT, self.room):
            self.skip(f"{what} of more than {min(MAX_TEXT, self.room) >> 10} KiB")
            return False
        self.room = max(0, self.room - size - OVERHEAD)
        return True

    def skip(self, what: str) -> None:
        """Name what is left unread, once, as far as there is room for names."""
        if what not in self.skipped and len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(what)


def read_exif(data: bytes, found: Embedded) -> None:
    try:
        texts = exif.read(data)
    except ValueError:
        found.skip("EXIF that is damaged")
        return
    for name, text in texts.items():
        found.add(name, text)


def read_xmp(packet: str, found: Embedded) -> None:
    for name, text in xmp.read(packet).items():
        found.add(name, text)
