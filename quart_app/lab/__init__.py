"""The lab: a server that can be stopped, four lanes with a network of their own that can be broken, and a page on which one sees
what comes of it.

    everywire lab

Reading path: `stage.py` (the server, the lanes), `server.py` (a process), `router.py` (one origin for all), `wire.py` (bytes,
made to be looked at), `publisher.py` (where events come from), `words.py` (what the page says), `packing.py` (how it travels),
`answers.py` (what no server of ours would say), `app.py` (what the page may ask for), `running.py` (all of it).
"""
