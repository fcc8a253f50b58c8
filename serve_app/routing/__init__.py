"""Who gets which variant: an immutable versioned table, and a salted hash that reads it."""
