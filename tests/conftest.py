"""Settings for every test."""

from hypothesis import settings

# Shared machines are slow now and then; a property is not wrong because it took 300 ms once. Derandomised, so
# that two runs of the same code test the same cases.
settings.register_profile("speechstrata", deadline=None, derandomize=True)
settings.load_profile("speechstrata")
