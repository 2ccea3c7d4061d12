"""Where the command line begins. Nothing slow is imported before a Ctrl-C has its answer."""

import os

INTERRUPTED = b"pleinair: interrupted; only complete files were kept\n"


def stop(number: int, frame: object) -> None:
    """End the process at once."""
    os.write(2, INTERRUPTED)
    os._exit(128 + number)


try:
    from _signal import SIGINT, default_int_handler, getsignal, signal  # `signal` itself takes milliseconds to import

    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, stop)
    from pleinair.cli.process import leave, run, watch

    watch(leave)
except KeyboardInterrupt:
    stop(2, None)


def main() -> None:
    """Run the command line and exit with its code."""
    run()


if __name__ == "__main__":
    main()
