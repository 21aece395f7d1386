"""Hold back the signals that ask for a checkpoint until the worker listens, then become the worker.

In: a command line. Out: the same command, with SIGUSR1 and SIGTERM blocked, not lost. Run as a file by a bare
interpreter (`python -I -S hold_signals.py COMMAND...`): that starts in milliseconds, where the worker's imports
take long enough for a signal to come too early and kill it. Imports nothing of ours."""

import os
import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    os.execv(sys.argv[1], sys.argv[1:])
