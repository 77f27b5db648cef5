"""Pictures: found and checked, decoded once, changed at random, handed over in batches."""
from .augment import PRESETS, Augment
from .data import ImageData
from .datasets import DATASETS
from .folders import DataError, check_folder

__all__ = [
    "DATASETS", "PRESETS", "Augment", "DataError", "ImageData", "check_folder",
]
