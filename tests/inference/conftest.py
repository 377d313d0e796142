"""Property tests here are not hurried: on a busy machine a slow example is no bug."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
