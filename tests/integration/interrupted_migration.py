"""Moves a gallery to another embedder in a process of its own, slowly, for others to kill.

python -m tests.integration.interrupted_migration DATA_FOLDER PHOTOS_FOLDER SECONDS_A_FACE: prints the faces done after each batch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from facesearch.service import migration_copy
from tests.migration_world import NEW, TwoModels


def main() -> None:
    """Move it, in small groups."""
    migration_copy.GROUP_FACES = 16
    models = TwoModels(Path(sys.argv[1]), Path(sys.argv[2]), seconds_a_face=float(sys.argv[3]))
    for path in sorted(models.photos.glob("P*/*.jpg")):
        models.make(int(path.parent.name[1:]), int(path.stem))
    models.migration.to(NEW, collection="default", on_progress=lambda done, total: print(done, total, flush=True))
    models.close()


if __name__ == "__main__":
    main()
