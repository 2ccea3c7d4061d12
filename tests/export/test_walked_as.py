"""The scheduler of a bundle walks as diffusers walks it: its class, and what pipelines write over its config."""

import json
import shutil
from inspect import Parameter, signature

import diffusers
import pytest

from pairwise import all_pairs
from pleinair.errors import ExportError, RequestError
from pleinair.sampling.laying import make_path
from pleinair.sampling.names import default_sampler, unknown_class
from pleinair.sampling.samplers import SAMPLERS
from pleinair.sources.families import FAMILIES
from pleinair.sources.folder import open_source
from pleinair.sources.schedulers import DEFAULTS, OVERWRITTEN, as_walked
from pleinair.sources.small_files import write_configs
from pleinair_export import convert

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
PUBLISHED = {**BETAS, "_class_name": "PNDMScheduler", "skip_prk_steps": True, "trained_betas": None}
KEYS = ("steps_offset", "clip_sample", "skip_prk_steps")
TORCHSDE = "DPMSolverSDEScheduler"  # diffusers has it where torchsde is installed
CLASSES = sorted({info.diffusers for info in SAMPLERS.values()} - {"", TORCHSDE})
ON_TIMESTEPS = ("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler")
SAID = {
    "silent": {},
    "0": {"steps_offset": 0, "clip_sample": True, "skip_prk_steps": False},
    "1": {"steps_offset": 1, "clip_sample": False, "skip_prk_steps": True},
    "other": {"steps_offset": 3, "clip_sample": None, "skip_prk_steps": 0},
    "leading": {"timestep_spacing": "leading"},
}


def diffusers_scheduler(config, kind, pipeline):
    """The scheduler of a diffusers pipeline made from a config whose class model_index.json names."""
    scheduler = getattr(diffusers, kind).from_config(config)
    made = getattr(diffusers, pipeline)
    parts = {name: None for name, each in signature(made).parameters.items() if each.default is Parameter.empty}
    return made(**{**parts, "scheduler": scheduler}).scheduler


def default_of(kind, key):
    return signature(getattr(diffusers, kind).__init__).parameters[key].default


@pytest.fixture
def source(tiny_sources, tmp_path):
    return shutil.copytree(tiny_sources["sd1"], tmp_path / "model")


def describe(folder, config, entry=None, pipeline="StableDiffusionPipeline"):
    """Write a scheduler config, the class that model_index.json gives it, and the pipeline's class."""
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    index = json.loads((folder / "model_index.json").read_text())
    changed = {"scheduler": entry or ["diffusers", config["_class_name"]], "_class_name": pipeline}
    (folder / "model_index.json").write_text(json.dumps({**index, **changed}))
    return folder


def test_the_table_of_defaults_is_diffusers_own():
    """All of its classes of schedulers, whether a sampler follows them or not."""
    found = {}
    for kind in {name for name in dir(diffusers) if name.endswith("Scheduler")} - {TORCHSDE}:
        parameters = signature(getattr(diffusers, kind).__init__).parameters
        found[kind] = {key: parameters[key].default for key in OVERWRITTEN if key in parameters}
    ours = {kind: said for kind, said in DEFAULTS.items() if kind != TORCHSDE}
    assert ours == {kind: said for kind, said in found.items() if said}


@pytest.mark.parametrize("kind", CLASSES)
def test_configs_are_written_over_as_diffusers_does(kind):
    """Of few trained timesteps: some classes of diffusers lay all of them out when they are made."""
    for pipeline, said in all_pairs([*FAMILIES], [*SAID.values()]):
        config = {**BETAS, "num_train_timesteps": 20, "_class_name": kind, **said}
        theirs = diffusers_scheduler(config, kind, pipeline).config
        ours = as_walked(config, pipeline, ["diffusers", kind])
        for key in KEYS:
            if key in theirs:
                assert ours.get(key, theirs[key]) == theirs[key], (pipeline, key, said)
                assert key in ours or theirs[key] == default_of(kind, key), (pipeline, key, said)
            else:
                assert key not in ours
        untouched = set(config) - set(KEYS)
        assert {key: ours[key] for key in untouched} == {key: config[key] for key in untouched}


@pytest.mark.parametrize("pipeline", FAMILIES)
@pytest.mark.parametrize("kind", ON_TIMESTEPS)
def test_silent_configs_are_walked_as_diffusers_walks_them(kind, pipeline):
    for said, steps in ((said, steps) for said in ({}, {"timestep_spacing": "leading"}) for steps in (4, 5, 20)):
        config = {**BETAS, "_class_name": kind, "skip_prk_steps": True, **said}
        scheduler = diffusers_scheduler(config, kind, pipeline)
        scheduler.set_timesteps(steps)
        ours = as_walked(config, pipeline, ["diffusers", kind])
        path = make_path(ours, SAMPLERS[default_sampler(ours)].grid, steps, None)
        theirs = list(dict.fromkeys(scheduler.timesteps.tolist()))  # PNDM walks its second one twice
        assert [a.t for a, _ in path.strides] == pytest.approx(theirs), said


def test_the_class_that_needs_torchsde_is_given_an_offset_too():
    config = {**BETAS, "_class_name": TORCHSDE}
    assert as_walked(config, "StableDiffusionPipeline", ["diffusers", TORCHSDE]) == {**config, "steps_offset": 1}


def test_a_published_config_without_an_offset(source):
    opened = open_source(describe(source, PUBLISHED))
    assert [a.t for a, _ in make_path(opened.scheduler, "pndm", 4, None).strides] == [751, 501, 251, 1]
    assert opened.defaults.sampler == "pndm"


@pytest.mark.parametrize("pipeline", ["StableDiffusionXLPipeline", "LatentConsistencyModelPipeline"])
def test_pipelines_of_other_families_leave_the_config_alone(pipeline):
    assert as_walked(PUBLISHED, pipeline, ["diffusers", "PNDMScheduler"]) == PUBLISHED


@pytest.mark.parametrize(
    "entry, config_class, found",
    [
        (["diffusers", "DDIMScheduler"], "FlaxDDIMScheduler", "DDIMScheduler"),
        (["diffusers", "EulerDiscreteScheduler"], "PNDMScheduler", "EulerDiscreteScheduler"),
        (["diffusers", "FlaxPNDMScheduler"], "DDIMScheduler", "PNDMScheduler"),
        (["onediff", "OneFlowDPMSolverMultistepScheduler"], "DDIMScheduler", "DPMSolverMultistepScheduler"),
        ([None, None], "FlaxDDIMScheduler", "DDIMScheduler"),
        ("DDIMScheduler", "PNDMScheduler", "PNDMScheduler"),
    ],
)
def test_the_class_of_the_index_wins(source, tmp_path, entry, config_class, found):
    opened = open_source(describe(source, {**PUBLISHED, "_class_name": config_class}, entry))
    assert opened.scheduler["_class_name"] == found
    assert opened.defaults.sampler == default_sampler({"_class_name": found})
    (tmp_path / "stage").mkdir()
    write_configs(opened, tmp_path / "stage")
    written = json.loads((tmp_path / "stage" / "scheduler" / "scheduler_config.json").read_text())
    assert written == opened.scheduler
    index = json.loads((tmp_path / "stage" / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", found]
    assert type(getattr(diffusers, found).from_pretrained(tmp_path / "stage" / "scheduler")).__name__ == found


@pytest.mark.parametrize(
    "kind", ["KarrasVeScheduler", "MyDDIMScheduler", "FlaxFlaxDDIMScheduler", "ddimscheduler", "", None]
)
def test_a_class_that_nobody_knows_must_be_named(source, kind):
    describe(source, {**PUBLISHED, "_class_name": kind}, ["custom", kind])
    with pytest.raises(ExportError, match="is not known; name the sampler to paint with: --sampler"):
        open_source(source)
    assert open_source(source, "heun").defaults.sampler == "heun"
    (source / "pleinair.json").write_text(json.dumps({"defaults": {"sampler": "DPM++ 2M"}}))
    assert open_source(source).defaults.sampler == "dpmpp_2m"
    assert open_source(source, "euler").defaults.sampler == "euler"


def test_a_named_sampler_is_checked_and_kept(source, tmp_path):
    for name in ("eulr", "DPM++ 2M Karras"):
        with pytest.raises(RequestError, match="choose"):
            next(convert.export(source, tmp_path / "out", sampler=name))
    opened = open_source(describe(source, {**PUBLISHED, "_class_name": "KarrasVeScheduler"}), "euler_a")
    assert opened.defaults.sampler == "euler_a"
    assert "KarrasVeScheduler" in unknown_class(opened.scheduler, "euler_a")[0]
