"""Networks: a body with its weights, a new head, layer groups to freeze."""
from .bodies import DEFAULT_ARCH, load_body
from .classifier import build_model, freeze_to, layer_groups, new_head, unfreeze

__all__ = [
    "DEFAULT_ARCH", "build_model", "freeze_to", "layer_groups", "load_body", "new_head", "unfreeze",
]
