"""sqlite_utils' Database, imported without pandas and NumPy. sqlite_utils imports both wherever they are installed, to
name columns for their types, which takes longer than all else that a command imports; no value here has such a type."""

from __future__ import annotations

import sys

_absent = {"pandas", "numpy"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_absent))  # type: ignore[arg-type]  # None: importing it fails
try:
    from sqlite_utils import Database
finally:
    for _name in _absent:
        del sys.modules[_name]

__all__ = ["Database"]
