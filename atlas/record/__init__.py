"""The parts of the recorder: what was seen (ledger, loaders, net), by whom (steps, family, journal), and what becomes
of it (inputs, outputs, assemble). See `recorder.py`."""
