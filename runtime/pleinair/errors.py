"""Every error a user can cause, each ending with its remedy.

    PleinairError                 one line on stderr, `exit_code` to the shell
    |-- RequestError        (2)   what was asked for makes no sense: size, steps, sampler, prompt file
    |-- BundleError         (3)   the model folder is missing, damaged, newer than this version, or cannot do the task
    |   `-- ExportError     (3)   the source model cannot be exported
    |-- ResourceError       (4)   memory or disk: no room, no permission, a file that would be overwritten
    |-- EngineError         (5)   an inference engine is missing, or refuses the graph or the device
    |-- NetworkError        (6)   a hub id was asked for and could not be fetched
    |-- QualityError        (7)   a fidelity gate or a benchmark limit was not met, or lines of a list were not painted
    `-- Cancelled         (130)   the caller's `stop` said so

Anything else that escapes is a bug and keeps its traceback.
"""


class PleinairError(Exception):
    """Base of all expected errors; `str(error)` is one line, `reason; remedy`.

    `option` is what to add to the command where that alone is missing, such as "--vae FILE".
    """

    exit_code = 1

    def __init__(self, text: str = "", *, option: str | None = None) -> None:
        super().__init__(text)
        self.option = option

    @property
    def reason(self) -> str:
        """What is wrong, without what to do about it."""
        return str(self).rpartition("; ")[0] or str(self)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return str(self).rpartition("; ")[2]


class RequestError(PleinairError):
    """What was asked for makes no sense: a size, a number of steps, a sampler, a file of prompts."""

    exit_code = 2


class BundleError(PleinairError):
    """The model's folder is missing, damaged, newer than this version, or cannot do the task."""

    exit_code = 3


class ExportError(BundleError):
    """The source model cannot be made into a bundle."""


class ResourceError(PleinairError):
    """Memory or disk: no room, no permission, a file that would be overwritten."""

    exit_code = 4


class EngineError(PleinairError):
    """An inference engine is missing, or refuses the graph or the device."""

    exit_code = 5


class NetworkError(PleinairError):
    """A repository of the hub was asked for and could not be fetched."""

    exit_code = 6


class QualityError(PleinairError):
    """A fidelity gate or a benchmark's limit was not met, or lines of a list were not painted."""

    exit_code = 7


class Cancelled(PleinairError):
    """The caller's `stop` said so, or Ctrl-C."""

    exit_code = 130
