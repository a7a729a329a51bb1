"""Who may write what, in a cluster."""
