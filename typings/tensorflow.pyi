# TensorFlow as untyped: the stubs that pyright brings describe a part of an older version and refuse valid code.
from typing import Any

def __getattr__(name: str) -> Any: ...
