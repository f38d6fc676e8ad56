"""Live experiments: one file each. `ls demos` is the catalogue; `demos.core` holds what they share."""
