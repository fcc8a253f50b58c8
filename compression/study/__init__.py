"""Studies: the same student trained in several ways, each over several seeds, on equal terms."""
