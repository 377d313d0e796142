"""A provider's opinion on a plan, checked: it never moves what the user said."""
