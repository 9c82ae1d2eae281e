"""Training of the reading of requests: the network of :mod:`spex.query.linking`.

``python -m train.reading`` trains on the requests of ``instruction_data/requests`` and writes the
weights; ``python -m train.reading.score`` measures readings.
"""
