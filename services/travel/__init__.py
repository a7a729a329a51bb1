"""The programs of the worked example `travel`, one service each.

`python -m services.travel.reservations --data DIR`, `python -m services.travel.agency --data DIR`

    Reservations   keeps places and books them   Hold, undone by Release; Confirm, undone by Cancel
    Agency         mails itineraries             SendItinerary, which nothing undoes

An airline, a hotel and a car hire company run a reservation system each, with a folder and a port of its own.
"""
