"""Where a variant runs: inside the gateway replica, or as a deployment of its own."""
