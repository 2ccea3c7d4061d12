"""Our samplers against the installed diffusers, live: wider than the golden numbers, narrower than docs/samplers.md."""

import itertools

import numpy as np
import pytest
import torch

import oracle
import toy
from pleinair.sampling.names import default_sampler
from pleinair.sampling.samplers import SAMPLERS

torch.set_num_threads(1)
STEPS = (1, 2, 3, 5, 10)
EVERY = (*oracle.SAMPLERS, *oracle.FORMULAS)
LONG = {"epsilon": 100, "v_prediction": 20}  # the longest walk of a config, which is on another spacing than its own
SLOW = ("dpm2", "dpm2_a", "lms")  # diffusers takes seconds to lay out or weigh their steps
NO_SAMPLE = ("euler_a", "dpm2", "dpm2_a", "pndm", *oracle.FORMULAS)  # diffusers refuses prediction type sample
OTHERS = [sampler for sampler in oracle.SAMPLERS if sampler not in ("pndm", "lms")]  # see docs/samplers.md


def longest(sampler, prediction):
    return min(LONG[prediction], 50 if sampler in ("lcm", "tcd") else 20 if sampler in SLOW else 100)


def test_the_oracle_has_every_sampler():
    assert set(EVERY) == set(SAMPLERS)


@pytest.mark.parametrize("sampler", EVERY)
def test_every_number_of_steps_equals_diffusers(sampler):
    """Each number of steps on the config's own spacing and on one other, which goes round with it; one is long."""
    others = itertools.cycle(oracle.spacings(sampler))
    for prediction, config in toy.CONFIGS.items():
        walks = [(steps, spacing) for steps in STEPS for spacing in {None, next(others)}]
        for steps, spacing in [*walks, (longest(sampler, prediction), next(others))]:
            ours = toy.walk(config, sampler, spacing, steps, seed=steps)
            theirs = oracle.trajectory(config, sampler, spacing, steps, seed=steps)
            found = toy.difference(ours, theirs)
            assert found <= toy.tolerance(sampler, spacing, steps), (spacing, steps, prediction)


@pytest.mark.parametrize("sampler", [sampler for sampler in oracle.SAMPLERS if sampler not in NO_SAMPLE])
def test_a_network_that_predicts_the_picture_equals_diffusers(sampler):
    for steps in (1, 4, 20):
        ours = toy.walk(toy.SAMPLE, sampler, None, steps, seed=steps)
        assert toy.difference(ours, oracle.trajectory(toy.SAMPLE, sampler, None, steps, seed=steps)) <= 2e-5


@pytest.mark.parametrize("sampler", OTHERS)
@pytest.mark.parametrize("steps, start", [(3, 1), (10, 4), (20, 13), (5, 4)])
def test_a_later_start_equals_diffusers(sampler, steps, start):
    for config in toy.CONFIGS.values():
        stepper = oracle.scheduler(config, sampler, None)
        theirs = oracle.walked(stepper, steps, steps, sampler in oracle.STOCHASTIC, start)
        ours = toy.walk(config, sampler, None, steps, steps, start)
        assert toy.difference(ours, theirs) <= toy.tolerance(sampler, None, steps)


@pytest.mark.parametrize("variant", toy.VARIANTS, ids=toy.variant_name)
def test_solver_settings_equal_diffusers(variant):
    for prediction, steps in (("epsilon", 4), ("v_prediction", 15)):  # from 15 on other steps end a walk
        config = {**toy.CONFIGS["epsilon"], "prediction_type": prediction, **variant}
        ours = toy.walk(config, default_sampler(config), None, steps, seed=steps)
        theirs = oracle.of_variant(config, steps, seed=steps)
        assert toy.difference(ours, theirs) <= toy.variant_tolerance(config), (prediction, steps)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_the_trained_levels_are_those_of_diffusers_to_the_bit(schedule):
    from pleinair.sampling.trained import training

    config = {**toy.CONFIGS["epsilon"], "beta_schedule": schedule}
    theirs = oracle.scheduler(config, "ddim", None).alphas_cumprod.numpy()
    np.testing.assert_array_equal(training(config).alpha_bar.astype(np.float32), theirs)
