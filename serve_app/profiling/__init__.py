"""Where the time of a request goes, measured without Ray; not imported by what serves."""
