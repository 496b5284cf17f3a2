"""The picture at the top of the README: a frame of the demo's live view, as SVG.

sudo .venv/bin/python -m bench.picture
"""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

from rich.console import Console

from quietgate.demo.stage import Stage
from quietgate.ui.commands.demo import view

SECONDS, AT = 40, 34


def main() -> None:
    with Stage() as stage:
        stage.attack()
        while (left := stage.begun + AT - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            seen = stage.seen()
    console = Console(record=True, width=104, file=io.StringIO())
    console.print(view(seen, SECONDS))
    picture = console.export_svg(title="sudo quietgate demo")
    # rich names a font's address: a picture fetches nothing
    Path("docs/demo.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


if __name__ == "__main__":
    main()
