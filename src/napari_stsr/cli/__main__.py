"""``python -m napari_stsr.cli``."""

import sys

from napari_stsr.cli import main

sys.exit(main())
