"""A process that imports the file of a loop, for one that must not. It writes where the
loop is, the texts of its modules, and what is known of it; or the `UserError` that says
why not."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from mnist_tune.errors import UserError
from mnist_tune.loop import Loop
from mnist_tune.own_code.loading import loop_named
from mnist_tune.own_code.modules import TEXTS, belonging

if __name__ == "__main__":
    _, name, file = sys.argv
    loaded: Any
    try:
        place, loop = loop_named(name)
        own = belonging(sys.modules[place.module])
        texts = {module: TEXTS[module] for module in own}
        loaded = place, texts, Loop(None, **loop.facts())
    except UserError as error:
        loaded = error
    Path(file).write_bytes(pickle.dumps(loaded))
