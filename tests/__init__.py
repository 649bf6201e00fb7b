"""Tests. Threads of torch that wait must sleep: where others need the processors too, spinning makes plain torch ten times slower."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
