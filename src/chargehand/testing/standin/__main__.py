"""Play a script for other processes: ``python -m chargehand.testing.standin SCRIPT.json``.

Prints the base URL on one line and serves until standard input closes, so that it never outlives who started it. The exit
status is 1 when the script did not fit what was asked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chargehand.testing.standin.script import ModelScript
from chargehand.testing.standin.server import ModelStandIn


def main() -> int:
    """Serve. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m chargehand.testing.standin",
        description="A stand-in for a model's HTTP endpoint, in the form of OpenAI's API. It is no model: it plays a script.",
    )
    parser.add_argument("script", type=Path, help="a ModelScript as JSON")
    parser.add_argument("--api-key", default="stand-in", help="the key that it takes (default: %(default)s)")
    options = parser.parse_args()
    server = ModelStandIn(ModelScript.model_validate_json(options.script.read_bytes()), api_key=options.api_key)
    server.start()
    sys.stdout.write(f"{server.base_url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()
    for problem in server.desk.problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if server.desk.problems else 0


if __name__ == "__main__":
    sys.exit(main())
