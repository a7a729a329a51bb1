"""The demo mesh: five small gRPC services of a clinical study.

The essay is written with the services.
"""
