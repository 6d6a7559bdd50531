# TensorFlow as untyped: pyright's own stubs describe a part of an older version and refuse valid code (x[..., 0], for one).
from typing import Any

def __getattr__(name: str) -> Any: ...
