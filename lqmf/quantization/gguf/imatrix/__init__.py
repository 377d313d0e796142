"""Importance matrices: collected from calibration text, until more text changes nothing."""
