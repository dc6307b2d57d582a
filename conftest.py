"""For tests and notebooks alike: waiting threads sleep soon (see CONTRIBUTING.md)."""

import os

# Before torch is loaded, which reads it then; processes that a test starts inherit it.
os.environ.setdefault('GOMP_SPINCOUNT', '1000')
os.environ.setdefault('TQDM_DISABLE', '1')  # as in `make store`: no progress bar is an output
