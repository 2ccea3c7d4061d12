"""Writing an IR to the disk."""

from pathlib import Path

from pleinair.engines.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov


def save_ir(model: ov.Model, file: Path) -> None:
    """Write a model's .xml, and its weights as they are into the .bin beside it; raises OSError.

    OpenVINO says of a disk that is full no more than that its stream failed.
    """
    try:
        ov.save_model(model, file, compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"OpenVINO could not save {file.name}: {error}") from error
