"""What an attack found: how much was tried, what broke, and what is worth a table."""

from dataclasses import dataclass, field


@dataclass
class Found:
    """title, words: of its section in docs/reliability.md; tried: how many cases; broke: a line for each that
    did not end as promised; columns, rows: a table of what became of them."""

    title: str
    words: str
    tried: int = 0
    broke: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list] = field(default_factory=list)
