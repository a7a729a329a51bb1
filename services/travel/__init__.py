"""The reservation system of the worked example `travel`.

`python -m services.travel --data DIR`

    Reservations   keeps places and books them   Hold, undone by Release; Confirm, undone by Cancel

An airline, a hotel and a car hire company run one each, with a folder and a port of its own.
"""
