"""``python -m spex`` is the ``spex`` command."""

from __future__ import annotations

import sys

from spex.cli.main import main

sys.exit(main())
