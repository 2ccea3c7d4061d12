"""Whether a diffusers folder can be poured, told by its configs before its weights are fetched."""

from pathlib import Path

from pleinair.errors import ExportError
from pleinair.library.choosing import FOLDER, INDEX, Read, files_of
from pleinair.library.repository import Repository
from pleinair.pouring.topologies import agrees, shipped
from pleinair.sources.configs import check_configs
from pleinair.sources.describing import Config, Described
from pleinair.sources.families import class_in
from pleinair.sources.folder import check_class, known_family, read_config, read_index

WEIGHTS = "fp16"  # of what is poured, unless told


def pourable_files(
    repository: Repository, formats: tuple[str, ...], weights: str, read: Read, pickles: bool = False
) -> list[str]:
    """The files of a diffusers folder for which graphs ship; ExportError, with what leads on, where some do not.

    Weights of other shapes than the configs say are found when they are there.
    """
    files = files_of(repository, FOLDER, read, weights, pickles)
    name, index = Path(repository.id), read_index(read(INDEX))
    family = known_family(name, index)
    for part in family.parts:
        check_class(name, part.folder, class_in(index, part.folder), part.kind)
    configs = {part.folder: read_config(read(f"{part.folder}/config.json")) for part in family.parts}
    check_configs(name, Described(family, index, configs))
    for part in family.parts:
        for form in formats:
            if not all(ships(graph, weights, form, configs[part.folder]) for graph in part.graphs):
                raise ExportError(
                    f"no graph for {form} in {weights} ships for the {part.folder} of '{repository.id}', so that it"
                    f" cannot be made ready without PyTorch, and nothing was fetched; with PyTorch: pleinair export"
                    f" {repository.id}"
                )
    return files


def ships(graph: str, weights: str, form: str, config: Config) -> bool:
    return any(agrees(config, topology.config) for _, topology in shipped(graph, weights, form))
