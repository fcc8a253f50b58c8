"""The verification workload: two small grey pictures in, do they show the same identity?

Pictures are made up by a seeded generator of our own; nothing is downloaded.
"""
