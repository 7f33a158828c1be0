"""`python -m itma` is the command line."""

from itma.cli import main

main()
