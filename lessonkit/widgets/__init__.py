"""Eight widgets for JupyterLab, each a picture and a page of its own, too."""
from .bet import Bet
from .explorer import ScheduleExplorer
from .groups import LayerGroups
from .monitor import TrainMonitor
from .picker import LRPicker
from .preview import AugmentPreview
from .replay import Replay
from .results import Results

__all__ = [
    "AugmentPreview", "Bet", "LRPicker", "LayerGroups", "Replay", "Results", "ScheduleExplorer",
    "TrainMonitor",
]
