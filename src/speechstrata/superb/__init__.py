"""SUPERB probes: six downstream tasks on frozen states, with learned layer weights.

A probe corpus (`corpora/`) -> cached states -> weighted sum -> a task's head (`tasks/`) -> metrics and weights.
"""
