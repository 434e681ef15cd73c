"""Where imported files come from: folders, archives, URLs."""
