"""Makes checkpoint folders: trains recipes and compresses what they trained."""
