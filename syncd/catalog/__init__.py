"""What syncd remembers between runs; a cache that W&B and Oxen can fill again."""
