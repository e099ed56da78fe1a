"""Ask an address of this container whether it is healthy: exit code 0 for an answer below 400."""

import sys
import urllib.request

if __name__ == "__main__":
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=4):  # noqa: S310 - written in compose.yaml
            sys.exit(0)
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
