"""The ports that a model's graphs need, by rules over its configs, under the names that the graphs have for them."""

from collections.abc import Callable, Mapping

from pleinair.adopting.outline import Outline
from pleinair.adopting.ports import Ports
from pleinair.bundle.manifest import MASK, Port
from pleinair.bundle.ports import ANSWERS
from pleinair.sources.configs import text_length
from pleinair.sources.describing import Described, Tokens, pooled_width, read_output
from pleinair.sources.families import Component
from pleinair.sources.transformers import TRANSFORMERS, tokens_read
from pleinair.sources.unets import unet_ports
from pleinair.text.encoders import HIDDEN, LAST

PICTURE = ("batch", 3, "image_height", "image_width")
MADE, PARAMETERS = "out_sample", "latent_parameters"  # outputs that tools call otherwise where they have only one

WantedPorts = tuple[Ports, Ports]  # inputs, outputs


def text_encoder(model: Described, graph: str, outline: Outline, tokens: Mapping[str, Tokens]) -> WantedPorts:
    """Token ids in; the states that the denoiser reads out, and all others there are, for clip skip."""
    part = next(part for part in model.family.readers if graph in part.graphs)
    config = model.configs[part.folder]
    length = tokens[part.tokenizer].length
    states = Port("float32", ("batch", length, config.get(part.width_key, 512)))
    there = [name for port in outline.outputs for name in port.names if name == LAST or name.startswith(HIDDEN)]
    outputs = {name: states for name in (*there, read_output(model, part.folder))}
    if part.pooled:
        outputs[part.pooled] = Port("float32", ("batch", pooled_width(part, config)))
    ids = Port("int64", ("batch", length))
    return {"input_ids": ids} | ({MASK: ids} if part.masked or outline.input(MASK) else {}), outputs


def tokens_of(model: Described, part: Component) -> int:
    """How many tokens of a text an encoder reads at once."""
    return tokens_read(part, model.network) or text_length(model.configs[part.folder])


def transformer(model: Described, graph: str, outline: Outline) -> WantedPorts:
    inputs, outputs = TRANSFORMERS[model.family.denoiser.kind].described(model.network)
    return inputs, {called(outline, name): port for name, port in outputs.items()}


def unet(model: Described, graph: str, outline: Outline) -> WantedPorts:
    inputs, outputs = unet_ports(model.unet, model.pooled)
    return inputs, {called(outline, MADE): outputs[MADE]}


def vae_decoder(model: Described, graph: str, outline: Outline) -> WantedPorts:
    latents = Port("float32", ("batch", model.channels, "height", "width"))
    return {"latent_sample": latents}, {"sample": Port("float32", PICTURE)}


def vae_encoder(model: Described, graph: str, outline: Outline) -> WantedPorts:
    answers = ANSWERS[answer_kind(model, outline)] * model.channels
    answer = Port("float32", ("batch", answers, "height", "width"))
    return {"sample": Port("float32", PICTURE)}, {called(outline, PARAMETERS): answer}


OTHERS: Mapping[
    str, Callable[[Described, str, Outline], WantedPorts]
] = {  # graphs that are no text encoders -> their ports
    "transformer": transformer,
    "unet": unet,
    "vae_decoder": vae_decoder,
    "vae_encoder": vae_encoder,
}


def wanted(model: Described, graph: str, outline: Outline, tokens: Mapping[str, Tokens]) -> WantedPorts:
    """The ports of a graph of the model, with what is known of its `tokens` by tokenizer folder."""
    return OTHERS[graph](model, graph, outline) if graph in OTHERS else text_encoder(model, graph, outline, tokens)


def called(outline: Outline, usual: str) -> str:
    """What a graph calls an output: as usual, or as its only one is called."""
    return outline.outputs[0].names[0] if outline.output(usual) is None and len(outline.outputs) == 1 else usual


def answer_kind(model: Described, outline: Outline) -> str:
    """Whether a VAE's encoder answers with a mean and a log variance, or with latents, told by their number."""
    found = outline.output(called(outline, PARAMETERS))
    count = found and found.side(1)
    if count:
        return "plain" if count == model.channels else "gaussian"
    return "gaussian" if found and PARAMETERS in found.names else "plain"
