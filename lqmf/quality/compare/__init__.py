"""Several artifacts side by side: rows, which differences are significant, and which one to take."""
