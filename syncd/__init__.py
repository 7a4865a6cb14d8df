"""syncd moves W&B artifact payloads into Oxen repositories and leaves references behind."""
