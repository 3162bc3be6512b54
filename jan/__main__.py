"""`jan`, and `python -m jan`."""

from jan.cli.main import main

if __name__ == "__main__":
    main()
