"""The README as its tests read it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
"""Its Python examples, in order."""
