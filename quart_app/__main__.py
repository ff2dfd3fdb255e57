"""`python -m quart_app` is `everywire`."""

from .cli import main

main()
