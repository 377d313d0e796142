"""Answers to questions, found in notes that LQMF ships."""
