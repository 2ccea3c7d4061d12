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
        self.prepare = graph.prepare

    def __call__(self, **inputs):
        return {name: self._change(array) for name, array in self._graph(**inputs).items()}


class Witness(FakeEngine):
    """The fake engine, which keeps the names of graphs that are called, and (name, shapes) of unprepared calls."""

    def __init__(self):
        super().__init__()
        self.called, self.unprepared = set(), []

    def open_graph(self, bundle, graph, how):
        return Witnessed(super().open_graph(bundle, graph, how), graph, self)


class Witnessed:
    """A graph that remembers which shapes it was prepared for."""

    def __init__(self, graph, name, witness):
        self._graph, self._name, self._witness = graph, name, witness
        self._shapes = []

    def prepare(self, shapes):
        self._shapes.append(shapes)

    def __call__(self, **inputs):
        shapes = {name: array.shape for name, array in inputs.items()}
        self._witness.called.add(self._name)
        if shapes not in self._shapes:
            self._witness.unprepared.append((self._name, shapes))
        return self._graph(**inputs)
