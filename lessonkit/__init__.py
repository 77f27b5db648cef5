"""lessonkit: train a good image classifier, and see every decision that goes into it."""
from .augment import PRESETS, Augment
from .data import DATASETS, DataError, ImageData, check_folder
from .evaluate import confusion_matrix, get_answers, most_wrong
from .find import LRFind, lr_find, no_trace
from .learner import Learner, load_model, save_model
from .model import build_model, freeze_to, layer_groups, unfreeze
from .optim import make_opt, param_groups, spread_lrs
from .recipe import five_steps
from .samples import write_samples
from .schedule import Schedule, one_cycle, sgdr, sweep
from .train import History, TrainingError, accuracy

__all__ = ["PRESETS", "Augment", "DATASETS", "DataError", "ImageData", "check_folder", "confusion_matrix", "get_answers",
           "most_wrong", "LRFind", "lr_find", "no_trace", "Learner", "load_model", "save_model", "build_model", "freeze_to",
           "layer_groups", "unfreeze", "make_opt", "param_groups", "spread_lrs", "five_steps", "write_samples", "Schedule",
           "one_cycle", "sgdr", "sweep", "History", "TrainingError", "accuracy"]
