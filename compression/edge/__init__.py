"""Variants for phones and browsers: a folder that an app ships, checked against its budget."""
