"""Names of models on the Hugging Face hub: OWNER/NAME."""

import re

PART = r"\w(?:[\w.-]{0,94}\w)?"
ADDRESS = r"(?:https?:/{1,2})?(?:huggingface|hf)\.co/|hf:/{1,2}"  # pathlib makes one slash of two
HUB_ID = re.compile(rf"(?:{ADDRESS})?({PART}/{PART})/?", re.ASCII)


def hub_id(text: str) -> str | None:
    """OWNER/NAME, also where it stands in an address of the hub; None for what the hub would not take for one."""
    found = HUB_ID.fullmatch(text)
    return found[1] if found and not re.search(r"--|\.\.|\.git$", found[1]) else None
