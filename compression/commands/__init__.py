"""Commands of `python -m compression`, one module each. `base` says what one must offer.

What a command needs of torch it imports when it runs: a wrong argument is answered at once.
"""

from __future__ import annotations

from compression.commands.auto import Auto
from compression.commands.base import Command
from compression.commands.bench import Bench
from compression.commands.boosting import Boosting
from compression.commands.card import Card
from compression.commands.export import Export
from compression.commands.gate import Gate
from compression.commands.importing import Import
from compression.commands.listing import List
from compression.commands.original import Original
from compression.commands.published import Published
from compression.commands.run import Run
from compression.commands.show import Show
from compression.commands.study import StudyCommand

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Run(),
        Auto(),
        Bench(),
        Gate(),
        List(),
        Show(),
        Card(),
        Export(),
        Import(),
        StudyCommand(),
        Original(),
        Boosting(),
        Published(),
    )
}
"""In the order in which --help lists them."""
