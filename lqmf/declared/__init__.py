"""What methods and providers declare of themselves, ours and those that other packages add by entry points."""
