"""LoRA files and their kin: what is in them, which layers they are for, and what they make of a layer's weight."""
