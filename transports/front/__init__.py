"""The front: our own HTTP/1.1 edge, for what is read and published over it."""
