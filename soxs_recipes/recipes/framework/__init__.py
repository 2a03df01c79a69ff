"""What makes a recipe: declaration, inputs, preparation, outputs, settings, manual, CPL's terms."""
