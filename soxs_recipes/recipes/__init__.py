"""One file a recipe: a declaration and a short list of verbs."""
