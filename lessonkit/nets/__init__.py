"""Networks: a body with its weights, a new head, layer groups to freeze."""
from .bodies import DEFAULT_ARCH
from .classifier import build_model, new_head
from .groups import freeze_to, layer_groups, unfreeze
from .weights import load_body

__all__ = [
    "DEFAULT_ARCH", "build_model", "freeze_to", "layer_groups", "load_body", "new_head", "unfreeze",
]
