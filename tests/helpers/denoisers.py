"""What denoisers are asked in tests, and what torch's say."""

import numpy as np

SIZES = {"height": 8, "width": 8, "tokens": 77, "patches": 16}


def asked(bundle, batch=1):
    """Random numbers for each port of a bundle's denoiser, but for its time."""
    rng, graph = np.random.default_rng(1), bundle.manifest.denoiser.graph
    sizes, ports = SIZES | {"batch": batch}, bundle.manifest.graphs[graph].inputs
    shapes = {name: [sizes.get(side, side) for side in port.shape] for name, port in ports.items()}
    numbers = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    return numbers | {"timestep": np.array([500], np.float32)}


def of_unet(unet, given):
    """A UNet's answer; SDXL's is told of sizes too."""
    import torch

    sample, timestep, text, *more = (torch.from_numpy(array) for array in given.values())
    conditions = dict(zip(("text_embeds", "time_ids"), more, strict=False))
    with torch.no_grad():
        return unet(sample, timestep, text, added_cond_kwargs=conditions)[0].numpy()


def of_transformer(transformer, given):
    """A transformer's answer; its ports have the names of torch's arguments."""
    import torch

    with torch.no_grad():
        return transformer(**{name: torch.from_numpy(array) for name, array in given.items()})[0].numpy()
