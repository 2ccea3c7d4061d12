"""Names and shapes by which single files of models are told apart, of no more numbers than that takes."""

NETWORK = "model.diffusion_model."
TEXT = {"cond_stage_model.transformer.text_model.final_layer_norm.weight": (8,)}
ATTENTION = "transformer_blocks.0.attn2.to_k.weight"


def network(channels=4, text=None, layers=2, levels=4, middle=2, deep=False, told=False):
    """The tensors of a UNet under its original names by which it is told apart."""
    shapes = {"input_blocks.0.0.weight": (1, channels, 3, 3), "output_blocks.0.0.in_layers.0.weight": (1,)}
    block = 1
    for level in range(levels):
        for _ in range(layers):
            shapes[f"input_blocks.{block}.0.in_layers.2.weight"] = (1, 1, 3, 3)
            if text:
                shapes[f"input_blocks.{block}.1.{ATTENTION}"] = (1, text)
            block += 1
        if level < levels - 1:
            shapes[f"input_blocks.{block}.0.op.weight"] = (1, 1, 3, 3)
            block += 1
    shapes |= {name: (1,) for name in ("middle_block.0.in_layers.0.weight", "middle_block.1.proj_in.weight")[:middle]}
    shapes |= {f"output_blocks.{n}.0.in_layers.0.weight": (1,) for n in range(6)}
    shapes |= {"output_blocks.2.1.conv.weight": (1, 1, 3, 3)}
    shapes |= {"output_blocks.3.1.transformer_blocks.1.norm1.weight": (1,)} if deep else {}
    shapes |= {"time_embed.cond_proj.weight": (1, 256)} if told else {}
    return {NETWORK + name: shape for name, shape in shapes.items()}
