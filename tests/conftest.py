"""What holds for every test: property tests are not hurried (on a busy machine a slow example is no bug), and OpenMP
threads do not spin against one another on a shared machine."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
