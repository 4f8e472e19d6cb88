"""`python -m viaduct`."""

from viaduct.cli.main import main

main()
