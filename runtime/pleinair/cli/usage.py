"""What the command line says of itself: examples, and what may have been meant where it cannot be understood."""

import difflib
import re
from pathlib import Path
from typing import Any

from pleinair.checks import quoted

EXAMPLES = {
    "pleinair": ('pleinair generate "a red house"', "pleinair generate --help", "pleinair doctor"),
    "generate": (
        'pleinair generate "a red house on a hill at night" --seed 7 -o house.png',
        'pleinair generate "a yellow castle" --seed 3 --count 4 --steps 12',
        'pleinair generate "a red house by day" --image house.png --seed 1 -o day.png',
        'pleinair generate "a red house" --control my-canny:photo.png:0.8:canny',
    ),
    "morph": ('pleinair morph "a red house" "a blue boat" --seeds 7,3 --frames 6 -o a.webp',),
    "export": (
        "pleinair export models/storybook/source my-bundle --weights int8",
        "pleinair export models/storybook/source for-both-engines --format both",
    ),
    "pull": ("pleinair pull OWNER/NAME", "pleinair pull OWNER/NAME --to my-folder --revision v1.0"),
    "models": ("pleinair models", "pleinair models info storybook", "pleinair models rm my-bundle"),
    "adopt": ("pleinair adopt stable-diffusion-v1-5-int8-ov", "pleinair adopt sd-turbo-openvino --vae taesd-ov"),
    "pour": (
        "pleinair pour model.safetensors my-model",
        "pleinair pour v2.safetensors my-model --prediction v_prediction",
        "pleinair pour turbo.safetensors my-turbo --timestep-spacing trailing",
    ),
    "quantize": (
        "pleinair quantize my-bundle my-fast-bundle",
        "pleinair quantize my-bundle my-fast-bundle --prompts prompts.txt --pictures 16",
    ),
    "prepare": ("pleinair prepare canny photo.png edges.png",),
    "info": ("pleinair info", "pleinair info my-bundle --verify"),
    "prompt": ('pleinair prompt "a (red:1.3) house BREAK night" --negative "snow"',),
    "metadata": ("pleinair metadata house.png", "pleinair metadata house.png --json"),
    "rerun": ("pleinair rerun house.png", "pleinair rerun house.png -o again.png"),
    "samplers": ("pleinair samplers", "pleinair samplers --json"),
    "serve": ("pleinair serve --open", "pleinair serve --model my-bundle --port 8000"),
    "mcp": ("pleinair mcp", "pleinair mcp --model my-bundle --memory low"),
    "tune": ("pleinair tune", "pleinair tune my-model --seconds 60", "pleinair tune --forget"),
    "cache": ("pleinair cache list", "pleinair cache clear"),
    "doctor": ("pleinair doctor", "pleinair doctor --try-devices"),
    "embed": ("pleinair embed painting --engine onnx", "pleinair embed painting --model my-model --cpu-only"),
}

SIZE = "the size is one option; write for example --size 512x768"
GUIDANCE = "the option is --guidance; write for example --guidance 7"
OPTIONS = {  # what people look for here and do not find -> what leads on
    "--controlnet": "the option is --control; write for example --control canny:edges.png:0.8",
    "--vae": "choose another VAE where you paint (generate) or make a bundle (pour, adopt)",
    "--ip-adapter": "IP-Adapters are not supported; start from a picture with --image and --strength",
    "--width": SIZE,
    "--height": SIZE,
    "--prompt": 'the prompt needs no option; write it in quotes: pleinair generate "a red house"',
    "--negative-prompt": 'the option is --negative; write for example --negative "night"',
    "--scheduler": "schedulers are called samplers here; choose one with --sampler, from: pleinair samplers",
    "--cfg": GUIDANCE,
    "--cfg-scale": GUIDANCE,
    "--guidance-scale": GUIDANCE,
    "--num-inference-steps": "the option is --steps; write for example --steps 20",
    "--num-images": "the option is --count; write for example --count 4",
    "--init-image": "the option is --image; write for example --image photo.png --strength 0.6",
}
WORDS = (  # what a parser writes -> what we write
    (r"^Invalid value for '(.+?)': Input should be (.+?)(, unable to parse .*)?$", r"\1 must be \2"),
    ("a valid integer$", "a whole number"),
    ("a valid number$", "a number"),
    ("less than or equal to", "at most"),
    ("greater than or equal to", "at least"),
    (r"^Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", r"too many arguments: \1"),
    (r"^Option '(.+?)' requires an argument$", r"\1 needs a value"),
)
PAINT = 'to paint a picture, run: pleinair generate "a red house"'
COMMANDS = {
    "web": "to open the page, run: pleinair serve --open",
    "download": "to download a model, run: pleinair pull OWNER/NAME",
    "list": "to list your models, run: pleinair models",
    "convert": "to convert a model, run: pleinair export FOLDER OUT",
    "help": "to see what there is, run: pleinair --help",
    "paint": PAINT,
    "txt2img": PAINT,
    "img2img": 'to repaint a picture, run: pleinair generate "a red house" --image FILE --strength 0.7',
    "inpaint": 'to repaint a part of a picture, run: pleinair generate "a red house" --image FILE --mask FILE',
    "upscale": 'to enlarge a picture, run: pleinair generate "a red house" --upscale BUNDLE',
    "train": "pleinair does not train; train with diffusers, then run: pleinair export FOLDER OUT",
}


def examples(command: str) -> str:
    """The end of a command's help."""
    return "\n\n".join(["Examples:", *EXAMPLES[command]])


def told(error: Any, arguments: list[str]) -> str:
    """The line for a command line that the parser refuses; empty where it has shown the help instead."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else _asked(arguments)
    if not message:
        return ""
    option = getattr(error, "option_name", None)
    if option and context:  # which errors about an option's value do not have
        return _option(option, message, context, arguments)
    if message.startswith("No such command"):
        return _command(arguments, context)
    if message.startswith("Got unexpected extra argument") and command.split()[-1] in ("generate", "prompt"):
        words = " ".join(_words(arguments)[1:])
        return f"a prompt of several words needs double quotes; write: {command} {quoted(words)}"
    return f"{_worded(message)}; see: {command} --help"


def _option(option: str, message: str, context: Any, arguments: list[str]) -> str:
    if option in OPTIONS:
        return OPTIONS[option]
    known = _options(context.command)
    long = [f"-{each}" for each in arguments if f"-{each}" in known and not each.startswith("--")]
    if option not in arguments and long:  # -steps is read as -s with a value
        return f"no such option: {long[0][1:]}; write {long[0]} with two hyphens"
    if files := [each for each in arguments if _is_file(each, option)]:
        return f"a name that begins with a hyphen is taken for an option; write {quoted(Path(files[0]))}"
    if context.command_path == "pleinair" and option in _options(context.command.get_command(context, "generate")):
        return f'{option} comes after the command; write for example: pleinair generate "a red house" {option} ...'
    return f"{_worded(message)}; see: {context.command_path} --help"


def _is_file(argument: str, option: str) -> bool:
    """Whether an argument that was read as an option names a file; -x.png is read as -x with a value."""
    whole = argument == option or (argument.startswith(option) and not argument.startswith("--"))
    return whole and (Path(argument).suffix[1:].isalpha() or Path(argument).exists())


def _asked(arguments: list[str]) -> str:
    """The command that a command line begins with."""
    return " ".join(["pleinair", *(each for each in arguments[:1] if not each.startswith("-"))])


def _command(arguments: list[str], context: Any) -> str:
    group = context.command_path
    words = _words(arguments)[len(group.split()) - 1 :] or [""]
    if group == "pleinair" and words[0] in COMMANDS:
        return COMMANDS[words[0]]
    refusal = f"no such command '{words[0]}'"
    near = difflib.get_close_matches(words[0].lower(), context.command.list_commands(context), n=1)
    if near:
        return f"{refusal}, did you mean '{near[0]}'? see: {group} --help"
    painted = f", or paint it with: pleinair generate {quoted(' '.join(words))}" if group == "pleinair" else ""
    return f"{refusal}; see: {group} --help{painted}"


def _worded(message: str) -> str:
    """A parser's message in the words of ours."""
    for pattern, words in WORDS:
        message = re.sub(pattern, words, message)
    return message[:1].lower() + message[1:]


def _options(command: Any) -> set[str]:
    return {name for each in command.params for name in each.opts}


def _words(arguments: list[str]) -> list[str]:
    """Command and prompt as far as the first option behind them."""
    words = [each for each in arguments if each != "--json"]
    ends = [place for place, each in enumerate(words) if place and each.startswith("-")]
    return words[: ends[0]] if ends else words
