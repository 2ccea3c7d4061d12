"""Paint over every picture in a folder: python batch.py FOLDER OUT "a castle in the desert"

What OUT has already is left alone, so that a run which was interrupted goes on where it stopped.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pleinair

PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


def paint_folder(
    pipe: pleinair.Pipeline, source: Path, out: Path, prompt: str, **options: object
) -> Iterator[tuple[Path, str]]:
    """Paint over the pictures of `source` one by one; yields each file of `out`, and what went wrong with it or ""."""
    out.mkdir(parents=True, exist_ok=True)
    for picture in sorted(source.iterdir()):
        painted = out / f"{picture.stem}.png"
        if picture.suffix.lower() not in PICTURES or painted.exists():
            continue
        try:
            pipe.generate(prompt, image=picture, **options).save(painted)
        except pleinair.RequestError as error:  # of this picture; what else goes wrong would go wrong with all of them
            yield painted, str(error)
        else:
            yield painted, ""


def main() -> int:
    """Returns the exit code."""
    try:
        source, out, prompt = sys.argv[1:]
        failed = 0
        with pleinair.load() as pipe:
            for painted, problem in paint_folder(pipe, Path(source), Path(out), prompt, seed=1, strength=0.6):
                print(problem or painted)
                failed += bool(problem)
    except pleinair.PleinairError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except ValueError:
        print(__doc__.partition("\n")[0], file=sys.stderr)
        return 2
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
