"""Tables, figures and one self-contained page, from the scores alone."""
