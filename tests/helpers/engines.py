"""Engines for tests: the fake one, which opens nothing, or whose graphs answer something else."""

from pleinair.engines.fake import FakeEngine


class Closed(FakeEngine):
    """An engine of which no graph is ever to be opened."""

    def open_graph(self, bundle, graph, how):
        raise AssertionError(f"'{graph}' was opened")


class Altered(FakeEngine):
    """The fake engine, with the answers of one graph passed through `change`."""

    def __init__(self, graph, change):
        super().__init__()
        self._graph, self._change = graph, change

    def open_graph(self, bundle, graph, how):
        opened = super().open_graph(bundle, graph, how)
        return Changed(opened, self._change) if graph == self._graph else opened


class Changed:
    """A graph whose answers are changed, one array after the other."""

    def __init__(self, graph, change):
        self._graph, self._change = graph, change
        self.prepare, self.unload = graph.prepare, graph.unload

    def __call__(self, **inputs):
        return {name: self._change(array) for name, array in self._graph(**inputs).items()}
