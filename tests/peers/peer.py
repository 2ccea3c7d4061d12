"""What a peer does in its own environment: it opens our bundles, and exports what adopt_folders.py opens.

python tests/peers/peer.py optimum-intel|optimum-onnx FOLDER [--all]

In one process, for importing the peer takes longer than either.
"""

import sys
from pathlib import Path

from export_model import export_all
from open_bundle import open_all

if __name__ == "__main__":
    peer, root, *everything = sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]
    failed = open_all(peer, root)
    export_all(peer, root, bool(everything))
    sys.exit(failed)
