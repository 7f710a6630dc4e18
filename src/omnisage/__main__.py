"""`python -m omnisage` is `omnisage`."""

from omnisage.cli import main

if __name__ == "__main__":
    main()
