"""One emitter a target language: the formula's expression in, a function of that language out."""
