"""Libraries that only some of the package needs, and which an installation may lack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Around imports: where one fails, the ImportError says that `what` needs it and which extra brings it.

    An error of our own modules passes as it is. Within another `needing`, the outer one's text is told.

    Example:
        >>> with needing("train", "training"):
        ...     import no_such_module
        Traceback (most recent call last):
        ImportError: training needs no_such_module: pip install 'lightendiff[train]'
    """
    try:
        yield
    except ImportError as error:
        library = (error.name or "").split(".")[0]
        if library in ("", "lightendiff"):
            raise
        reason = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        if isinstance(reason, ModuleNotFoundError):
            text = f"{what} needs {library}: pip install 'lightendiff[{extra}]'"
        else:  # it is installed, and what it is linked with isn't
            text = f"{what} needs {library}, which can't be imported: {str(reason).splitlines()[0]}"
        raise ImportError(text, name=library) from reason
