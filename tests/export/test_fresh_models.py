"""Models that nobody trained, which real sizes are tried with."""

import torch

from fresh_models import wake


def test_fresh_parameters_are_moved_off_0_and_1():
    """A norm of ones and zeros would be left out by the engines, which no trained model's is."""
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(4, 8))
    conv = module[0].weight.clone()
    wake(module)
    assert torch.equal(module[0].weight, conv)
    assert module[1].weight.std() > 0.01
    assert abs(module[1].weight.mean() - 1) < 0.1
    assert module[1].bias.std() > 0.01
