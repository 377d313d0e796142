"""The names that users of the first design know. Nothing of LQMF imports from here."""
