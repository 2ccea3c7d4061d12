"""How many tokens a prompt has, and which of its words a model does not know."""

from collections import OrderedDict
from threading import Lock
from typing import Any

from pleinair.bundle.opening import Bundle
from pleinair.text.reader import PromptReader
from pleinair.text.report import report
from pleinair.text.warned import Warnings

MOST_READERS = 4  # tokenizers take some MB each


class Readers:
    """A reader for each of the models that were asked for lately."""

    def __init__(self) -> None:
        self._readers: OrderedDict[str, PromptReader] = OrderedDict()
        self._turn = Lock()

    def counted(self, name: str, bundle: Bundle, prompt: str) -> dict[str, Any]:
        """Tokens, how many fit into one chunk, chunks, and unknown words; raises RequestError for a prompt that is
        too long."""
        with self._turn:
            if name not in self._readers:
                self._readers[name] = PromptReader(bundle)
            self._readers.move_to_end(name)
            while len(self._readers) > MOST_READERS:
                self._readers.popitem(last=False)
            reader = self._readers[name]
            found = report(reader, prompt, "", 1)
            chunks = [chunk for part in found["parts"] for chunk in part["versions"][0]["chunks"]]
            return {
                "tokens": sum(map(len, chunks)),
                "limit": reader.chunkers[0].encoder.room,
                "chunks": found["chunks"],
                "unknown": reader.strange_words(reader.parts(prompt, 1, Warnings())),
            }
