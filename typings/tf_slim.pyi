# tf-slim as untyped: its decorators hide every signature.
from typing import Any

def __getattr__(name: str) -> Any: ...
