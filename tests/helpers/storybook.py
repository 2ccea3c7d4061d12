"""What diffusers and pleinair are both asked to paint with storybook."""


def case(sampler, spacing, guidance, width, height, seed):
    return {
        "prompt": "a red house on a snowy hill at night",
        "negative": "a boat",
        "sampler": sampler,
        "spacing": spacing,
        "guidance": guidance,
        "steps": 8,
        "width": width,
        "height": height,
        "seed": seed,
    }


CASES = {
    "ddim": case("ddim", "leading", 4.0, 64, 64, 1),
    "euler": case("euler", "karras", 1.0, 72, 56, 2),
    "euler_a": case("euler_a", "trailing", 4.0, 56, 72, 3),
    "dpmpp_2m": case("dpmpp_2m", None, 4.0, 64, 64, 4),
}
