"""Whether what diffusers saves can be poured, told by its configs before its weights are fetched."""

from pathlib import Path

from pleinair.errors import ExportError
from pleinair.library.choosing import COMPONENT, CONFIG_FILE, FOLDER, INDEX, Read, files_of, part_alone
from pleinair.library.repository import Repository
from pleinair.pouring.topologies import agrees, shipped
from pleinair.sources.configs import check_configs, check_numbers
from pleinair.sources.controlnets import CONTROLNET, check_control_config
from pleinair.sources.describing import Config, Described
from pleinair.sources.families import Component, class_in
from pleinair.sources.folder import check_class, known_family, read_config, read_index
from pleinair.sources.lone_vaes import checked_config

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
        check_ships(repository, part, formats, weights, configs[part.folder])
    return files


def pourable_component(
    repository: Repository, formats: tuple[str, ...], weights: str, read: Read, pickles: bool = False
) -> list[str]:
    """The same of a VAE or a ControlNet alone."""
    files, part = files_of(repository, COMPONENT, read, weights, pickles), part_alone(repository, read)
    if part == CONTROLNET:
        config = read_config(read(CONFIG_FILE))
        check_numbers(Path(repository.id), part.folder, config)
        check_control_config(config, repository.id)
    else:
        config = checked_config(read(CONFIG_FILE).parent)
    check_ships(repository, part, formats, weights, config)
    return files


def check_ships(
    repository: Repository, part: Component, formats: tuple[str, ...], weights: str, config: Config
) -> None:
    """Raise ExportError for a component of which some graph does not ship."""
    for form in formats:
        if not all(ships(graph, weights, form, config) for graph in part.graphs):
            raise ExportError(
                f"no graph for {form} in {weights} ships for the {part.folder} of '{repository.id}', so that it"
                f" cannot be made ready without PyTorch, and nothing was fetched; with PyTorch: pleinair export"
                f" {repository.id}"
            )


def ships(graph: str, weights: str, form: str, config: Config) -> bool:
    return any(agrees(config, topology.config) for _, topology in shipped(graph, weights, form))
