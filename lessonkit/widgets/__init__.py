"""Seven widgets for JupyterLab, each a picture and a page of its own, too."""
from .bet import Bet
from .controls import LRPicker, LayerGroups, ScheduleExplorer
from .monitor import Replay, TrainMonitor
from .preview import AugmentPreview

__all__ = [
    "AugmentPreview", "Bet", "LRPicker", "LayerGroups", "Replay", "ScheduleExplorer", "TrainMonitor",
]
