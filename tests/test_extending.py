"""The example of docs/extending.md runs as it is printed."""

from __future__ import annotations

import re

from tests.conftest import ROOT

_BLOCK = re.compile(r'^```python\n(.*?)^```', re.MULTILINE | re.DOTALL)


def test_the_blocks_run_in_order():
    text = (ROOT / 'docs' / 'extending.md').read_text(encoding='utf-8')
    blocks = list(_BLOCK.finditer(text))
    assert len(blocks) >= 4
    namespace: dict = {'__name__': 'extending'}
    for block in blocks:
        # Line numbers of an error are those of the document.
        above = '\n' * (text.count('\n', 0, block.start()) + 1)
        exec(compile(above + block[1], 'docs/extending.md', 'exec'), namespace)
    model = namespace['model']
    assert 'Predictions/fuse/weights' in model.variables_by_name()
