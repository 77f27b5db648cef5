"""Training: schedules, one stream of updates, the learning rate finder, and the learner."""
from .find import lr_find
from .history import History
from .learner import Learner
from .loop import TrainingError
from .optim import make_opt, param_groups, spread_lrs
from .restore import no_trace
from .rules import ema
from .schedule import Schedule, one_cycle, sgdr, sweep
from .suggest import LRFind

__all__ = [
    "History", "LRFind", "Learner", "Schedule", "TrainingError", "ema", "lr_find", "make_opt", "no_trace",
    "one_cycle", "param_groups", "sgdr", "spread_lrs", "sweep",
]
