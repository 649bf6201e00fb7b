"""The files of a published ImageGPT checkpoint, as `transformers` and its image processor write them."""

from pathlib import Path

FILES = ("model.safetensors", "pytorch_model.bin")  # its weights are in one of them
CLUSTERS_FILE = "preprocessor_config.json"  # its palette


def is_published(folder: Path) -> bool:
    """Whether the folder looks like a checkpoint that `conversion` can convert."""
    return (folder / CLUSTERS_FILE).exists() and any((folder / name).exists() for name in FILES)
