"""`jan`, and `python -m jan`."""

from typing import NoReturn

from jan import init, interpreter


def main() -> NoReturn:
    """Be Python where that is what is asked for, else the command line."""
    init.step_aside()
    interpreter.stand_in()
    # Not before: an engine's process must find its own packages, not those of the command line.
    from jan.cli.main import main as run  # noqa: PLC0415 - as said

    run()


if __name__ == "__main__":
    main()
