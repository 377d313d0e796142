"""The door for authors of plug-ins: what a package with a backend or a provider imports, and nothing else of LQMF.

`lqmf.plugin.backend` for one in the entry-point group `lqmf.backends`, `lqmf.plugin.provider` for one in
`lqmf.providers`. Names here stay; where they lie in LQMF may change. docs/plugins.md shows both.
"""
