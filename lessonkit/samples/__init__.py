"""Pictures that are drawn: two sets, the same bits on every machine."""
from .write import sample_data, write_samples

__all__ = [
    "sample_data", "write_samples",
]
