"""lessonkit: train a good image classifier, and see every decision that goes into it."""
from .augment import PRESETS, Augment
from .data import ImageData
from .datasets import DATASETS
from .evaluate import average_answers, average_weights, confusion_matrix, flatness, get_answers, most_wrong
from .find import lr_find
from .folders import DataError, check_folder
from .learner import Learner
from .model import build_model, freeze_to, layer_groups, unfreeze
from .optim import make_opt, param_groups, spread_lrs
from .predict import load_model, save_model
from .recipe import five_steps
from .samples import write_samples
from .schedule import Schedule, one_cycle, sgdr, sweep
from .suggest import LRFind
from .trace import no_trace
from .train import History, TrainingError, accuracy

__all__ = [
    "DATASETS", "DataError", "Augment", "History", "ImageData", "LRFind", "Learner", "PRESETS", "Schedule",
    "TrainingError", "accuracy", "average_answers", "average_weights", "build_model", "check_folder",
    "confusion_matrix", "five_steps", "flatness", "freeze_to", "get_answers", "layer_groups", "load_model",
    "lr_find", "make_opt", "most_wrong", "no_trace", "one_cycle", "param_groups", "save_model", "sgdr",
    "spread_lrs", "sweep", "unfreeze", "write_samples",
]
