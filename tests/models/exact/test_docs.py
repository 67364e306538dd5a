"""What the page on exactness shows, works."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_example_of_the_page_on_exactness_runs() -> None:
    text = (DOCS / "exactness.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(example, "exactness.md", "exec"), {"__name__": "example"})
