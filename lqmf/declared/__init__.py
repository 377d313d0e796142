"""The declarations of methods and providers: LQMF's own, and those that other packages add by entry points."""
