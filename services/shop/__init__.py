"""The shop of the worked example `order`: stock, payments and shipping, three services in one program.

`python -m services.shop --data DIR`

    Stock      keeps goods back          Reserve, undone by Release
    Payments   takes money               Authorise, undone by Void; Capture, which nothing undoes; FindCapture to ask
    Shipping   sends parcels and mail    Ship, SendReceipt, which nothing undoes

They share the process and nothing else: each has a database and a ledger of its own, and none reads another's.
"""
