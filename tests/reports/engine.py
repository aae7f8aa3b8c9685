"""An engine for the conformance runner that knows its answers by heart, and has a fault: ``FILE FAULT [lines]``.

It imports nothing of ours, so that it starts at once. Each start is noted in ``FILE.starts``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    file, fault, *mode = sys.argv[1:]
    answers = json.loads(Path(file).read_text(encoding="utf-8"))
    with Path(file + ".starts").open("a", encoding="utf-8") as starts:
        starts.write("started\n")
    for text in sys.stdin if mode else [sys.stdin.read()]:
        sys.stdout.write(_answer(answers[json.dumps(json.loads(text))], fault) + "\n")
        sys.stdout.flush()


def _answer(answer: dict[str, object], fault: str) -> str:
    """Return the answer, wrong for call auctions when the engine has that fault."""
    match fault if "price_micro_per_kwh" in answer else "none":
        case "hang":
            time.sleep(3600)
        case "end":
            sys.exit("out of order")
        case "text":
            return "no answer today"
        case "list":
            return "[]"
        case "error":
            return json.dumps({"error": "cannot do that"})
        case "price":
            return json.dumps(answer | {"price_micro_per_kwh": 1})
        case _:
            pass
    return json.dumps(answer)


if __name__ == "__main__":
    main()
