"""An attribute replaced for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def standing_in(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """``owner.name`` is ``function`` while the context is open; other objects of ``owner``'s class are not affected."""
    own = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
