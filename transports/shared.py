"""Files in memory that several processes see: a container may have no directory to write to."""

from __future__ import annotations

import os
import sys
import tempfile


def new_file(content: bytes, size: int = 0) -> int:
    """The descriptor of a file that begins with `content` and has `size` bytes, if that is more; none is taken before it is
    written to.
    """
    size = max(size, len(content))
    if sys.platform == "linux":
        descriptor = os.memfd_create("everywire")
        os.write(descriptor, content)
        os.ftruncate(descriptor, size)
        return descriptor
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.truncate(size)
        file.flush()
        return os.dup(file.fileno())
