"""Recognition: what trains, evaluates and exports the networks (needs the ``train`` extra).

Nothing here is imported at run time: a trained network is served by ONNX Runtime alone
(``models.recogniser``).
"""
