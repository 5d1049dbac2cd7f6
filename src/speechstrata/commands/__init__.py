"""The commands, one thin function each; heavy imports live inside them, so that ``--help`` is quick."""
