"""lessonkit: train a good image classifier, and see every decision that goes into it."""

from .evaluate import (
    accuracy,
    average_preds,
    average_weights,
    confusion_matrix,
    flatness,
    get_preds,
    most_confused,
    most_wrong,
    precision_recall,
    wilson_interval,
)
from .images import DATASETS, PRESETS, Augment, DataError, ImageData, check_folder
from .nets import build_model, freeze_to, layer_groups, unfreeze
from .predict import load_model, save_model
from .recipe import five_steps
from .samples import write_samples
from .train import (
    History,
    Learner,
    LRFind,
    Schedule,
    TrainingError,
    lr_find,
    make_opt,
    no_trace,
    one_cycle,
    param_groups,
    sgdr,
    spread_lrs,
    sweep,
)

__all__ = [
    "DATASETS",
    "PRESETS",
    "Augment",
    "DataError",
    "History",
    "ImageData",
    "LRFind",
    "Learner",
    "Schedule",
    "TrainingError",
    "accuracy",
    "average_preds",
    "average_weights",
    "build_model",
    "check_folder",
    "confusion_matrix",
    "five_steps",
    "flatness",
    "freeze_to",
    "get_preds",
    "layer_groups",
    "load_model",
    "lr_find",
    "make_opt",
    "most_confused",
    "most_wrong",
    "no_trace",
    "one_cycle",
    "param_groups",
    "precision_recall",
    "save_model",
    "sgdr",
    "spread_lrs",
    "sweep",
    "unfreeze",
    "wilson_interval",
    "write_samples",
]
