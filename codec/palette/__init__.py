"""Published ImageGPT checkpoints: colours by the tokens of a palette. Of this, `colours` and `published` do without torch."""
