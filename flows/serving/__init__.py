"""The REST server: MLflow's scoring protocol, with a champion that may change while it serves."""
