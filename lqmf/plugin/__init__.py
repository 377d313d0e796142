"""The door for authors of plug-ins: the names that a package with a backend or a provider imports, and nothing else of
LQMF.

`lqmf.plugin.backend` is for packages with an entry point in the group `lqmf.backends`, `lqmf.plugin.provider` for those
in `lqmf.providers`. Names here stay; where they lie in LQMF may change. tests/plugins shows both.
"""
