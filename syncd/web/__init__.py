"""The HTTP faces of syncd."""
