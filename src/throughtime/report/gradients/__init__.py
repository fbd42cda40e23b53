"""What a person sees of a trace: a page, drawings to save, a summary on the terminal."""
