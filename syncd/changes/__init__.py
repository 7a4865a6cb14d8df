"""Changes: what one version has against another, by files and by rows, and merging it."""
